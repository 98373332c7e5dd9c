//! Members of a workspace. Only owners touch owners and admins; a workspace always keeps an owner.

use domain::{
    Code, Error, Result,
    account::{Email, Membership, Role, User},
    id::{TenantId, UserId},
    time::Millis,
};
use ports::records::{Batch, Records};

use crate::{accounts::new_user, password::Hasher, sessions::{Principal, Sessions}};

/// Somebody in a workspace.
#[derive(Clone, Debug)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub created_at: Millis,
}

pub struct Members {
    records: Records,
    hasher: Hasher,
    sessions: Sessions,
    /// Changes of roles are made one at a time: "the last owner" is a fact about several records.
    turn: tokio::sync::Mutex<()>,
}

fn may_touch(actor: Role, target: Role) -> Result<()> {
    if actor == Role::Owner || (actor == Role::Admin && target < Role::Admin) {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, format!("your role `{}` may not give, change or take away the role `{}`; ask an owner", actor.as_str(), target.as_str())))
}

fn key(tenant: TenantId, user: UserId) -> Vec<u8> {
    [tenant.as_bytes().as_slice(), user.as_bytes().as_slice()].concat()
}

impl Members {
    pub fn new(records: Records, hasher: Hasher, sessions: Sessions) -> Self {
        Self { records, hasher, sessions, turn: tokio::sync::Mutex::new(()) }
    }

    pub async fn list(&self, tenant: TenantId) -> Result<Vec<Member>> {
        let mut all = Vec::new();
        for m in self.records.find::<Membership>(TenantId::INSTANCE, "workspace", tenant.as_bytes(), 10_000).await? {
            if let Some(user) = self.records.get::<User>(TenantId::INSTANCE, m.user.as_bytes()).await? {
                all.push(Member { user: user.value, role: m.role, created_at: m.created_at });
            }
        }
        all.sort_by_key(|m| (m.created_at, m.user.id));
        Ok(all)
    }

    /// Adds somebody. A person who has an account already keeps their name and password; `conflict` when they are in
    /// the workspace already.
    pub async fn add(&self, actor: &Principal, email: &str, name: &str, password: &str, role: Role) -> Result<Member> {
        may_touch(actor.role, role)?;
        let address = Email::parse(email)?;
        let (now, tenant) = (Millis::now(), actor.workspace.id);
        let mut fresh = None;
        loop {
            let mut batch = Batch::new();
            let (user, known) = match self.records.find_one::<User>(TenantId::INSTANCE, "email", address.as_str()).await? {
                Some(user) => (user.value, true),
                None => {
                    let user = match fresh.take() {
                        Some(user) => user,
                        None => new_user(&self.hasher, email, name, password).await?,
                    };
                    batch.insert(&user);
                    (user, false)
                }
            };
            batch.insert(&Membership { tenant, user: user.id, role, created_at: now });
            match self.records.commit(batch).await {
                Err(e) if e.code == Code::Conflict && known => return Err(Error::new(Code::Conflict, format!("`{}` is a member of this workspace already", address.as_str())).param("email")),
                // The account was made by somebody else this moment: it is known now.
                Err(e) if e.code == Code::Conflict => fresh = Some(user),
                other => return other.map(|()| Member { user, role, created_at: now }),
            }
        }
    }

    async fn membership(&self, tenant: TenantId, user: UserId) -> Result<Membership> {
        Ok(self.records.get::<Membership>(TenantId::INSTANCE, key(tenant, user)).await?.ok_or_else(|| Error::not_found("member", user))?.value)
    }

    async fn check_owner_stays(&self, tenant: TenantId, leaving: &Membership) -> Result<()> {
        if leaving.role != Role::Owner {
            return Ok(());
        }
        let all = self.records.find::<Membership>(TenantId::INSTANCE, "workspace", tenant.as_bytes(), 10_000).await?;
        if all.iter().any(|m| m.role == Role::Owner && m.user != leaving.user) {
            return Ok(());
        }
        Err(Error::new(Code::Conflict, "this is the workspace's last owner; make somebody else an owner first"))
    }

    pub async fn set_role(&self, actor: &Principal, user: UserId, role: Role) -> Result<Member> {
        let _turn = self.turn.lock().await;
        let tenant = actor.workspace.id;
        let mut m = self.membership(tenant, user).await?;
        may_touch(actor.role, m.role)?;
        may_touch(actor.role, role)?;
        if role != Role::Owner {
            self.check_owner_stays(tenant, &m).await?;
        }
        m.role = role;
        self.records.put(&m).await?;
        let user = self.records.get::<User>(TenantId::INSTANCE, user.as_bytes()).await?.ok_or_else(|| Error::not_found("member", user))?.value;
        Ok(Member { user, role, created_at: m.created_at })
    }

    /// Takes somebody out of the workspace. A person left without any workspace is signed out everywhere.
    pub async fn remove(&self, actor: &Principal, user: UserId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let tenant = actor.workspace.id;
        let m = self.membership(tenant, user).await?;
        if user != actor.user.id {
            may_touch(actor.role, m.role)?;
        }
        self.check_owner_stays(tenant, &m).await?;
        self.records.delete::<Membership>(TenantId::INSTANCE, key(tenant, user)).await?;
        if self.records.find::<Membership>(TenantId::INSTANCE, "user", user.as_bytes(), 1).await?.is_empty() {
            self.sessions.end_others(user, None).await?;
        }
        Ok(())
    }
}
