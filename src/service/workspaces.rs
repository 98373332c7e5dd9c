//! Workspaces: the tenants of an installation.

use domain::{
    Error, Result,
    account::{Membership, Role, Workspace, WorkspaceStatus},
    id::{TenantId, UserId},
    time::Millis,
};
use ports::records::{Batch, Records};

use crate::clean_text;

pub struct Workspaces {
    records: Records,
}

impl Workspaces {
    pub fn new(records: Records) -> Self {
        Self { records }
    }

    /// The workspaces a user belongs to, with their role, oldest first.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<(Workspace, Role)>> {
        let mut all = Vec::new();
        for m in self.records.find::<Membership>(TenantId::INSTANCE, "user", user.as_bytes(), 10_000).await? {
            if let Some(w) = self.records.get::<Workspace>(TenantId::INSTANCE, m.tenant.as_bytes()).await? {
                all.push((w.value, m.role));
            }
        }
        Ok(all)
    }

    /// Makes a workspace owned by `owner`.
    pub async fn create(&self, owner: UserId, name: &str) -> Result<Workspace> {
        let now = Millis::now();
        let workspace = Workspace { id: TenantId::new(), name: clean_text("name", name, 100)?, status: WorkspaceStatus::Normal, created_at: now };
        let mut batch = Batch::new();
        batch.insert(&workspace).insert(&Membership { tenant: workspace.id, user: owner, role: Role::Owner, created_at: now });
        self.records.commit(batch).await?;
        Ok(workspace)
    }

    /// Renames a workspace the user owns; not-found for any other.
    pub async fn rename(&self, user: UserId, id: TenantId, name: &str) -> Result<Workspace> {
        let name = clean_text("name", name, 100)?;
        let key = [id.as_bytes().as_slice(), user.as_bytes().as_slice()].concat();
        match self.records.get::<Membership>(TenantId::INSTANCE, key).await? {
            None => return Err(Error::not_found("workspace", id)),
            Some(m) if m.role < Role::Owner => return Err(Error::new(domain::Code::Forbidden, "only an owner may rename the workspace")),
            Some(_) => {}
        }
        self.records.modify::<Workspace>(TenantId::INSTANCE, id.as_bytes(), "workspace", |w| { w.name = name.clone(); Ok(()) }).await
    }

    /// The workspace made first: what the command line means when it names none.
    pub async fn first(&self) -> Result<Option<Workspace>> {
        Ok(self.records.all::<Workspace>(TenantId::INSTANCE).limit(1).page().await?.items.pop().map(|w| w.value))
    }
}
