//! Who may give, change and take away which role; a workspace always keeps an owner.

use domain::{Code, account::Role, id::UserId};
use service::Principal;

use crate::house::{House, PASSWORD, code, house};

async fn with_everybody() -> (House, Vec<Principal>) {
    let h = house();
    let owner = h.owner().await;
    let mut all = Vec::new();
    for role in Role::ALL {
        all.push(h.joins(&owner, role, &format!("{}@example.org", role.as_str())).await);
    }
    (h, all)
}

/// Who may touch whom: the one table of this module.
fn may(actor: Role, target: Role) -> bool {
    actor == Role::Owner || (actor == Role::Admin && target < Role::Admin)
}

#[tokio::test]
async fn only_owners_and_admins_add_people_and_only_owners_add_admins_and_owners() {
    let (h, all) = with_everybody().await;
    for actor in &all {
        for role in Role::ALL {
            let email = format!("{}-{}@example.org", actor.role.as_str(), role.as_str());
            let added = h.members.add(actor, &email, "New", PASSWORD, role).await;
            assert_eq!(code(added), if may(actor.role, role) { None } else { Some(Code::Forbidden) }, "{:?} adds {role:?}", actor.role);
        }
    }
}

#[tokio::test]
async fn nobody_changes_a_role_from_or_to_one_they_may_not_touch() {
    let (h, all) = with_everybody().await;
    for actor in &all {
        for (from, target) in Role::ALL.into_iter().zip(&all) {
            for to in Role::ALL {
                let changed = h.members.set_role(actor, target.user.id, to).await;
                let allowed = may(actor.role, from) && may(actor.role, to);
                assert_eq!(code(changed), if allowed { None } else { Some(Code::Forbidden) }, "{:?} turns {from:?} into {to:?}", actor.role);
                h.members.set_role(&all[3], target.user.id, from).await.expect("the way back");
            }
        }
    }
}

#[tokio::test]
async fn nobody_removes_somebody_they_may_not_touch_but_anybody_may_leave() {
    for actor in 0..4 {
        for target in 0..4 {
            let (h, all) = with_everybody().await;
            let removed = h.members.remove(&all[actor], all[target].user.id).await;
            let allowed = actor == target || may(all[actor].role, all[target].role);
            assert_eq!(code(removed), if allowed { None } else { Some(Code::Forbidden) }, "{:?} removes {:?}", all[actor].role, all[target].role);
        }
    }
}

#[tokio::test]
async fn the_last_owner_can_neither_leave_nor_step_down() {
    let h = house();
    let owner = h.owner().await;
    h.joins(&owner, Role::Admin, "ada@example.org").await;
    for role in [Role::Admin, Role::Editor, Role::Member] {
        assert_eq!(code(h.members.set_role(&owner, owner.user.id, role).await), Some(Code::Conflict));
    }
    assert_eq!(code(h.members.remove(&owner, owner.user.id).await), Some(Code::Conflict));
    assert_eq!(h.members.set_role(&owner, owner.user.id, Role::Owner).await.unwrap().role, Role::Owner, "staying is fine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_owners_who_depose_each_other_at_once_leave_one_of_them() {
    for round in 0..20 {
        let h = house();
        let a = h.owner().await;
        let b = h.joins(&a, Role::Owner, "bea@example.org").await;
        let (m, n) = (h.members.clone(), h.members.clone());
        let (for_a, for_b) = (b.user.id, a.user.id);
        let (x, y) = if round % 2 == 0 {
            tokio::join!(tokio::spawn(async move { m.set_role(&a, for_a, Role::Member).await.map(|_| ()) }), tokio::spawn(async move { n.set_role(&b, for_b, Role::Member).await.map(|_| ()) }))
        } else {
            tokio::join!(tokio::spawn(async move { m.remove(&a, for_a).await }), tokio::spawn(async move { n.remove(&b, for_b).await }))
        };
        let outcomes = [x.unwrap(), y.unwrap()];
        assert_eq!(outcomes.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(outcomes.into_iter().filter_map(code).all(|c| c == Code::Conflict || c == Code::NotFound));
    }
}

#[tokio::test]
async fn people_of_other_workspaces_are_not_found() {
    let h = house();
    let owner = h.owner().await;
    let member = h.joins(&owner, Role::Member, "mia@example.org").await;
    let neighbour = h.neighbour(&owner).await;
    for id in [member.user.id, owner.user.id, UserId::new()] {
        assert_eq!(code(h.members.set_role(&neighbour, id, Role::Owner).await), Some(Code::NotFound));
        assert_eq!(code(h.members.remove(&neighbour, id).await), Some(Code::NotFound));
    }
    assert_eq!(h.members.list(neighbour.workspace.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn somebody_with_an_account_joins_a_second_workspace_with_their_own_password() {
    let h = house();
    let owner = h.owner().await;
    h.joins(&owner, Role::Member, "mia@example.org").await;
    let neighbour = h.neighbour(&owner).await;
    let joined = h.members.add(&neighbour, "MIA@example.org", "Another name", "another password", Role::Editor).await.unwrap();
    assert_eq!(joined.user.name, "Somebody");
    assert_eq!(h.workspaces.of_user(joined.user.id).await.unwrap().len(), 2);
    assert_eq!(code(h.accounts.login("mia@example.org", "another password", "10.0.0.1", "").await), Some(Code::InvalidCredentials));
    assert_eq!(code(h.members.add(&neighbour, "mia@example.org", "x", PASSWORD, Role::Editor).await), Some(Code::Conflict), "twice is once too often");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workspaces_that_add_the_same_new_person_at_once_both_get_them_and_one_account() {
    for _ in 0..20 {
        let h = house();
        let owner = h.owner().await;
        let neighbour = h.neighbour(&owner).await;
        let adds = [owner, neighbour].map(|by| {
            let members = h.members.clone();
            tokio::spawn(async move { members.add(&by, "mia@example.org", "Mia", PASSWORD, Role::Member).await.map(|m| m.user.id) })
        });
        let [a, b] = adds;
        assert_eq!(a.await.unwrap().unwrap(), b.await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_person_taken_out_of_their_only_workspace_is_signed_out_and_out_of_one_of_two_lands_in_the_other() {
    let h = house();
    let owner = h.owner().await;
    let neighbour = h.neighbour(&owner).await;
    h.members.add(&owner, "mia@example.org", "Mia", PASSWORD, Role::Member).await.unwrap();
    let mia = h.accounts.login("mia@example.org", PASSWORD, "10.0.0.1", "").await.unwrap();
    h.members.add(&neighbour, "mia@example.org", "Mia", PASSWORD, Role::Editor).await.unwrap();
    h.members.remove(&owner, mia.principal.user.id).await.unwrap();
    let (now, _) = h.sessions.authenticate(&mia.cookie).await.unwrap();
    assert_eq!((now.workspace.id, now.role), (neighbour.workspace.id, Role::Editor));
    h.members.remove(&neighbour, mia.principal.user.id).await.unwrap();
    assert_eq!(code(h.sessions.authenticate(&mia.cookie).await), Some(Code::Unauthorized));
}

#[tokio::test]
async fn what_is_no_address_no_name_or_no_password_adds_nobody() {
    let h = house();
    let owner = h.owner().await;
    for (email, name, password, expected) in [
        ("nobody", "N", PASSWORD, Code::InvalidParam),
        ("n@example.org", "a\tb", PASSWORD, Code::InvalidParam),
        ("n@example.org", "N", "1234567", Code::WeakPassword),
        ("n@example.org", "N", &"p".repeat(257), Code::WeakPassword),
    ] {
        assert_eq!(code(h.members.add(&owner, email, name, password, Role::Member).await), Some(expected), "{email} {name:?}");
    }
    assert_eq!(h.members.list(owner.workspace.id).await.unwrap().len(), 1);
}
