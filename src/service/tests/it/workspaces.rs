//! Workspaces and the installation's settings.

use domain::{Code, account::Role, id::TenantId};
use service::settings::SettingsPatch;

use crate::house::{code, house};

#[tokio::test]
async fn a_workspace_is_owned_by_its_maker_and_named_by_its_owners_only() {
    let h = house();
    let owner = h.owner().await;
    let admin = h.joins(&owner, Role::Admin, "ada@example.org").await;
    let made = h.workspaces.create(owner.user.id, " Second ").await.unwrap();
    assert_eq!(made.name, "Second");
    let of_owner = h.workspaces.of_user(owner.user.id).await.unwrap();
    assert_eq!(of_owner.iter().map(|(w, r)| (w.name.as_str(), *r)).collect::<Vec<_>>(), [("Home", Role::Owner), ("Second", Role::Owner)]);
    assert_eq!(h.workspaces.rename(owner.user.id, made.id, "Third").await.unwrap().name, "Third");
    assert_eq!(code(h.workspaces.rename(admin.user.id, owner.workspace.id, "Mine").await), Some(Code::Forbidden));
    for strange in [made.id, TenantId::new(), TenantId::INSTANCE] {
        assert_eq!(code(h.workspaces.rename(admin.user.id, strange, "Mine").await), Some(Code::NotFound));
    }
    for bad in ["", "\u{7}", &"w".repeat(101)] {
        assert_eq!(code(h.workspaces.create(owner.user.id, bad).await), Some(Code::InvalidParam));
    }
}

#[tokio::test]
async fn settings_change_field_by_field_and_an_empty_model_means_the_first_there_is() {
    let h = house();
    h.owner().await;
    let patch = |name: Option<&str>, chat: Option<&str>| SettingsPatch { name: name.map(Into::into), default_chat_model: chat.map(Into::into), ..SettingsPatch::default() };
    let s = h.settings.update(patch(Some(" Nut "), Some("m"))).await.unwrap();
    assert_eq!((s.name.as_str(), s.default_chat_model.as_deref(), s.default_language.as_str()), ("Nut", Some("m"), "zh-Hans"));
    let s = h.settings.update(patch(None, Some(" "))).await.unwrap();
    assert_eq!((s.name.as_str(), s.default_chat_model), ("Nut", None));
    for bad in [patch(Some(""), None), SettingsPatch { default_language: Some("x".into()), ..SettingsPatch::default() }] {
        assert_eq!(code(h.settings.update(bad).await), Some(Code::InvalidParam));
    }
    assert_eq!(h.settings.get().await.unwrap(), h.settings.update(SettingsPatch::default()).await.unwrap());
}
