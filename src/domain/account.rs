//! Workspaces, users, memberships and sessions.

use serde::{Deserialize, Serialize};

use crate::{
    Code, Error, Result,
    id::{SessionId, TenantId, UserId},
    record::{IndexEntry, Record, key_i64},
    time::Millis,
};

/// What a member of a workspace may do. Ordered: each role may do all that the lower ones may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Uses apps and the playground.
    Member,
    /// Builds apps and knowledge, creates keys.
    Editor,
    /// Manages members, models, providers and settings.
    Admin,
    /// Everything, including other admins and the workspace itself.
    Owner,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Member, Role::Editor, Role::Admin, Role::Owner];
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Editor => "editor",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text).ok_or_else(|| {
            Error::invalid("role", format!("`{text}` is not a role; choose `owner`, `admin`, `editor` or `member`"))
        })
    }
}

/// An e-mail address in canonical form: trimmed, lower-case, one `@` with text on both sides, ≤ 254 bytes (RFC 5321).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    pub fn parse(text: &str) -> Result<Self> {
        let t = text.trim().to_lowercase();
        let well_formed = t.len() <= 254
            && !t.chars().any(|c| c.is_whitespace() || c.is_control())
            && t.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
        if well_formed { Ok(Self(t)) } else { Err(Error::invalid("email", "this is not an e-mail address; write it like `name@example.org`")) }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bounds of a password in characters (NIST SP 800-63B: long rather than complicated).
pub const PASSWORD_MIN: usize = 8;
pub const PASSWORD_MAX: usize = 256;

/// Checks a new password against [`PASSWORD_MIN`] and [`PASSWORD_MAX`].
pub fn check_password(password: &str) -> Result<()> {
    let n = password.chars().count();
    if n < PASSWORD_MIN {
        return Err(Error::new(Code::WeakPassword, format!("the password has {n} characters; it needs at least {PASSWORD_MIN}")).param("password"));
    }
    if n > PASSWORD_MAX {
        return Err(Error::new(Code::WeakPassword, format!("the password has {n} characters; at most {PASSWORD_MAX} are allowed")).param("password"));
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceStatus {
    Normal,
    Archived,
}

/// A tenant: owns apps, datasets, keys, credentials and their data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    pub id: TenantId,
    pub name: String,
    pub status: WorkspaceStatus,
    pub created_at: Millis,
}
impl Record for Workspace {
    const KIND: &'static str = "workspace";
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
}

/// A person who signs in to the console. Belongs to the installation; memberships tie it to workspaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub email: Email,
    pub name: String,
    /// PHC string (argon2id).
    pub password_hash: String,
    /// BCP 47 tag of the console language, e.g. `en-US`, `zh-Hans`.
    pub language: String,
    /// `light`, `dark` or `system`.
    pub theme: String,
    pub active: bool,
    pub created_at: Millis,
    pub last_login_at: Option<Millis>,
}
impl Record for User {
    const KIND: &'static str = "user";
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::unique("email", self.email.as_str())]
    }
}

/// A user's role in one workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub tenant: TenantId,
    pub user: UserId,
    pub role: Role,
    pub created_at: Millis,
}
impl Record for Membership {
    const KIND: &'static str = "membership";
    /// Kept with the installation so that "which workspaces has this user" and "who is in this workspace" are both index scans.
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        [self.tenant.as_bytes().as_slice(), self.user.as_bytes().as_slice()].concat()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::new("user", self.user.as_bytes().as_slice()), IndexEntry::new("workspace", self.tenant.as_bytes().as_slice())]
    }
}

/// A browser session. The cookie holds a random secret; only its hash is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    /// The workspace the user looks at now.
    pub workspace: TenantId,
    /// SHA-256 of the cookie's secret.
    pub secret_hash: [u8; 32],
    /// The secret before the last rotation, honoured until `previous_until` so that parallel requests survive it.
    pub previous_hash: Option<[u8; 32]>,
    pub previous_until: Millis,
    pub csrf_token: String,
    pub created_at: Millis,
    pub rotated_at: Millis,
    pub last_seen_at: Millis,
    pub expires_at: Millis,
    pub user_agent: String,
    pub ip: String,
}
impl Record for Session {
    const KIND: &'static str = "session";
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::new("user", self.user.as_bytes().as_slice()), IndexEntry::new("expires", key_i64(self.expires_at.0))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_trimmed_lowered_and_must_have_two_sides() {
        assert_eq!(Email::parse("  Ada@Example.ORG ").unwrap().as_str(), "ada@example.org");
        for bad in ["", "ada", "@x", "ada@", "a@b@c", "a b@c", "a\n@c"] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn roles_are_ordered_from_member_to_owner() {
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Editor && Role::Editor > Role::Member);
    }
}
