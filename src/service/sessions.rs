//! Browser sessions: a random secret in a cookie, its hash in the store, idle and absolute expiry, rotation.

use std::time::Duration;

use domain::{
    Code, Error, Result,
    account::{Membership, Role, Session, User, Workspace},
    id::{SessionId, TenantId, UserId},
    time::Millis,
};
use ports::records::{Batch, Records};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::accounts::Settings;

/// How long the secret before a rotation is still honoured, for requests already under way.
const ROTATION_GRACE: Duration = Duration::from_secs(60);
/// `last_seen_at` is written at most this often.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// Sessions a person may have; the oldest end when another begins.
const MOST_SESSIONS: usize = 100;

/// Who asks: a signed-in user, in the workspace they look at.
#[derive(Clone, Debug)]
pub struct Principal {
    pub user: User,
    pub workspace: Workspace,
    pub role: Role,
    pub session: SessionId,
    pub csrf_token: String,
}

/// A session together with the cookie text to send. The text is never stored.
#[derive(Clone, Debug)]
pub struct Issued {
    pub principal: Principal,
    pub cookie: String,
}

/// Opens, checks and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    records: Records,
    settings: Settings,
}

fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn signed_out() -> Error {
    Error::new(Code::Unauthorized, "you are not signed in, or your session has ended; sign in again")
}

fn cookie_text(id: SessionId, secret: &[u8; 32]) -> String {
    format!("{}.{}", id.0.simple(), hex::encode(secret))
}

impl Sessions {
    pub fn new(records: Records, settings: Settings) -> Self {
        Self { records, settings }
    }

    /// Lifetime of the cookie.
    pub fn absolute_lifetime(&self) -> Duration {
        Duration::from_secs(self.settings.session_absolute_secs)
    }

    /// Opens a session for a user who has proved who they are, in the workspace they joined first.
    /// `forbidden` when the user is in no workspace.
    pub async fn open(&self, user: &User, ip: &str, user_agent: &str) -> Result<Issued> {
        let memberships = self.records.find::<Membership>(TenantId::INSTANCE, "user", user.id.as_bytes(), 1).await?;
        let home = memberships.first().ok_or_else(|| Error::new(Code::Forbidden, "your account is in no workspace; ask an owner to add you"))?.tenant;
        let (id, secret, now) = (SessionId::new(), rand::random::<[u8; 32]>(), Millis::now());
        let session = Session {
            id,
            user: user.id,
            workspace: home,
            secret_hash: hash(&secret),
            previous_hash: None,
            previous_until: Millis(0),
            csrf_token: hex::encode(rand::random::<[u8; 32]>()),
            created_at: now,
            rotated_at: now,
            last_seen_at: now,
            expires_at: now.plus(self.absolute_lifetime()),
            user_agent: user_agent.chars().filter(|c| !c.is_control()).take(300).collect(),
            ip: ip.to_owned(),
        };
        let mut batch = Batch::new();
        batch.insert(&session);
        let mut others = self.records.find::<Session>(TenantId::INSTANCE, "user", user.id.as_bytes(), 10 * MOST_SESSIONS).await?;
        others.sort_by_key(|s| std::cmp::Reverse((s.created_at, s.id)));
        for (place, s) in others.iter().enumerate() {
            if place + 1 >= MOST_SESSIONS || s.expires_at <= now {
                batch.delete::<Session>(TenantId::INSTANCE, s.id.as_bytes().as_slice());
            }
        }
        self.records.commit(batch).await?;
        let principal = self.principal(session).await?;
        Ok(Issued { principal, cookie: cookie_text(id, &secret) })
    }

    /// Who holds this cookie. The second value is a new cookie text when the secret was rotated.
    pub async fn authenticate(&self, cookie: &str) -> Result<(Principal, Option<String>)> {
        let (id, secret) = cookie.split_once('.').ok_or_else(signed_out)?;
        let id: SessionId = id.parse().map_err(|_| signed_out())?;
        let secret = hex::decode(secret).map_err(|_| signed_out())?;
        let found = self.records.get::<Session>(TenantId::INSTANCE, id.as_bytes()).await?.ok_or_else(signed_out)?;
        let (mut session, revision, now, given) = (found.value, found.revision, Millis::now(), hash(&secret));
        let current: bool = session.secret_hash.ct_eq(&given).into();
        let previous: bool = session.previous_until > now && session.previous_hash.is_some_and(|h| h.ct_eq(&given).into());
        if !current && !previous {
            return Err(signed_out());
        }
        let idle = now.since(session.last_seen_at) > Duration::from_secs(self.settings.session_idle_secs);
        if idle || session.expires_at <= now {
            self.end(id).await?;
            return Err(signed_out());
        }
        let mut renewed = None;
        if current && now.since(session.rotated_at) > Duration::from_secs(self.settings.session_rotate_secs) {
            let fresh = rand::random::<[u8; 32]>();
            session.previous_hash = Some(session.secret_hash);
            session.previous_until = now.plus(ROTATION_GRACE);
            session.secret_hash = hash(&fresh);
            session.rotated_at = now;
            renewed = Some(cookie_text(id, &fresh));
        }
        if renewed.is_some() || now.since(session.last_seen_at) > SEEN_EVERY {
            session.last_seen_at = now;
            let mut batch = Batch::new();
            batch.update(&session, revision);
            match self.records.commit(batch).await {
                Ok(()) => {}
                // A parallel request was faster, or the session was ended this moment: the former's rotation stands.
                Err(e) if e.code == Code::Conflict => renewed = None,
                Err(e) => return Err(e),
            }
        }
        Ok((self.principal(session).await?, renewed))
    }

    async fn principal(&self, session: Session) -> Result<Principal> {
        let user = self.records.get::<User>(TenantId::INSTANCE, session.user.as_bytes()).await?.filter(|u| u.active).ok_or_else(signed_out)?.value;
        let key = |tenant: TenantId| [tenant.as_bytes().as_slice(), user.id.as_bytes().as_slice()].concat();
        let membership = match self.records.get::<Membership>(TenantId::INSTANCE, key(session.workspace)).await? {
            Some(m) => m.value,
            // Removed from the workspace they looked at: their first other one.
            None => self.records.find::<Membership>(TenantId::INSTANCE, "user", user.id.as_bytes(), 1).await?.pop().ok_or_else(signed_out)?.value,
        };
        let workspace = self.records.get::<Workspace>(TenantId::INSTANCE, membership.tenant.as_bytes()).await?.ok_or_else(signed_out)?.value;
        Ok(Principal { user, workspace, role: membership.role, session: session.id, csrf_token: session.csrf_token })
    }

    /// Whether the token sent is the session's.
    pub fn check_csrf(&self, principal: &Principal, token: &str) -> Result<()> {
        if principal.csrf_token.as_bytes().ct_eq(token.as_bytes()).into() {
            Ok(())
        } else {
            Err(Error::new(Code::CsrfFailed, "the header `X-CSRF-Token` is missing or does not fit this session; take it from `GET /console/api/session`"))
        }
    }

    /// Makes a session look at another of the user's workspaces; not-found unless they belong to it.
    pub async fn switch(&self, principal: &Principal, to: TenantId) -> Result<Principal> {
        let key = [to.as_bytes().as_slice(), principal.user.id.as_bytes().as_slice()].concat();
        if self.records.get::<Membership>(TenantId::INSTANCE, key).await?.is_none() {
            return Err(Error::not_found("workspace", to));
        }
        let session = self.records.modify::<Session>(TenantId::INSTANCE, principal.session.as_bytes(), "session", |s| { s.workspace = to; Ok(()) }).await?;
        self.principal(session).await
    }

    /// A user's sessions, newest first.
    pub async fn list(&self, user: UserId) -> Result<Vec<Session>> {
        let found = self.records.find::<Session>(TenantId::INSTANCE, "user", user.as_bytes(), 1000).await?;
        let mut all: Vec<Session> = found.into_iter().map(|s| s.value).filter(|s| s.expires_at > Millis::now()).collect();
        all.sort_by_key(|s| std::cmp::Reverse((s.created_at, s.id)));
        Ok(all)
    }

    /// Ends one of the user's own sessions; not-found for anybody else's.
    pub async fn end_own(&self, user: UserId, id: SessionId) -> Result<()> {
        match self.records.get::<Session>(TenantId::INSTANCE, id.as_bytes()).await? {
            Some(s) if s.user == user => self.end(id).await,
            _ => Err(Error::not_found("session", id)),
        }
    }

    pub async fn end(&self, id: SessionId) -> Result<()> {
        self.records.delete::<Session>(TenantId::INSTANCE, id.as_bytes().as_slice()).await
    }

    /// Ends all sessions of a user but `keep`.
    pub async fn end_others(&self, user: UserId, keep: Option<SessionId>) -> Result<()> {
        let mut batch = Batch::new();
        for s in self.records.find::<Session>(TenantId::INSTANCE, "user", user.as_bytes(), usize::MAX >> 1).await? {
            if Some(s.id) != keep {
                batch.delete::<Session>(TenantId::INSTANCE, s.id.as_bytes().as_slice());
            }
        }
        self.records.commit(batch).await
    }
}
