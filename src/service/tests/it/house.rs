//! An installation without HTTP, models or disk: records in memory and quick password hashes.

use std::sync::Arc;

use domain::{Code, Result, account::Role};
use ports::{memory::MemoryRecords, records::Records};
use service::{
    Accounts, InstanceService, Keys, Members, Principal, Sessions, Workspaces,
    accounts::{self, SetUp},
    password::Hasher,
};

pub const PASSWORD: &str = "correct horse battery";

pub struct House {
    pub records: Records,
    pub accounts: Arc<Accounts>,
    pub sessions: Sessions,
    pub members: Arc<Members>,
    pub workspaces: Workspaces,
    pub keys: Arc<Keys>,
    pub settings: InstanceService,
}

pub fn house() -> House {
    with(accounts::Settings::default(), Hasher::new(8, 1, 4))
}

pub fn with(settings: accounts::Settings, hasher: Hasher) -> House {
    let records = Records::new(Arc::new(MemoryRecords::new()));
    let sessions = Sessions::new(records.clone(), settings.clone());
    House {
        accounts: Arc::new(Accounts::new(records.clone(), hasher.clone(), sessions.clone(), settings)),
        members: Arc::new(Members::new(records.clone(), hasher, sessions.clone())),
        workspaces: Workspaces::new(records.clone()),
        keys: Arc::new(Keys::new(records.clone())),
        settings: InstanceService::new(records.clone(), Vec::new()),
        sessions,
        records,
    }
}

pub fn owner_of(email: &str) -> SetUp {
    SetUp { email: email.into(), name: "Olive".into(), password: PASSWORD.into(), workspace_name: Some("Home".into()), language: Some("zh-Hans".into()) }
}

impl House {
    /// The first owner, signed in.
    pub async fn owner(&self) -> Principal {
        self.accounts.set_up(owner_of("olive@example.org")).await.expect("the first set-up works");
        self.sign_in("olive@example.org").await
    }

    pub async fn sign_in(&self, email: &str) -> Principal {
        self.accounts.login(email, PASSWORD, "10.0.0.1", "test").await.expect("the password is right").principal
    }

    /// Somebody `by` adds to their workspace, signed in.
    pub async fn joins(&self, by: &Principal, role: Role, email: &str) -> Principal {
        self.members.add(by, email, "Somebody", PASSWORD, role).await.expect("an owner may add anybody");
        self.sign_in(email).await
    }

    /// The owner of a workspace the first owner has nothing to do with any more, signed in there.
    pub async fn neighbour(&self, owner: &Principal) -> Principal {
        let workspace = self.workspaces.create(owner.user.id, "Next door").await.expect("an owner may make a workspace");
        let there = Principal { workspace, ..owner.clone() };
        let neighbour = self.joins(&there, Role::Owner, "nora@example.org").await;
        self.members.remove(&neighbour, owner.user.id).await.expect("there is another owner");
        neighbour
    }
}

/// The code of a refusal.
pub fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|e| e.code)
}
