//! Accounts: the first owner, signing in, one's own profile and password.

use std::{sync::Arc, time::{Duration, Instant}};

use domain::{
    Code, Error, Result,
    account::{Email, Membership, Role, User, Workspace, WorkspaceStatus, check_password},
    id::{TenantId, UserId},
    settings::InstanceSettings,
    time::Millis,
};
use moka::sync::Cache;
use parking_lot::Mutex;
use ports::records::{Batch, Records};
use serde::{Deserialize, Serialize};

use crate::{clean_text, password::Hasher, sessions::{Issued, Principal, Sessions}};

/// The section `[accounts]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seconds without a request after which a session ends.
    pub session_idle_secs: u64,
    /// Seconds after signing in at which a session ends in any case.
    pub session_absolute_secs: u64,
    /// Seconds after which a session's secret is replaced.
    pub session_rotate_secs: u64,
    /// Memory of one password hash in KiB (argon2id).
    pub hash_memory_kib: u32,
    /// Passes of one password hash (argon2id).
    pub hash_passes: u32,
    /// Password hashes computed at once.
    pub hash_concurrency: usize,
    /// Wrong passwords allowed per account and address before delays begin.
    pub login_free_attempts: u32,
    /// Longest delay after wrong passwords, in seconds; it doubles from one second up to this.
    pub login_max_delay_secs: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_idle_secs: 7 * 24 * 3600,
            session_absolute_secs: 30 * 24 * 3600,
            session_rotate_secs: 24 * 3600,
            // As strong as 19 MiB in two passes. Blocks beyond 32 MiB go back to the system when they are freed; smaller
            // ones stay with each thread that ever hashed.
            hash_memory_kib: 46 * 1024,
            hash_passes: 1,
            hash_concurrency: 2,
            login_free_attempts: 5,
            login_max_delay_secs: 900,
        }
    }
}

/// What the first owner gives.
#[derive(Clone, Debug, Default)]
pub struct SetUp {
    pub email: String,
    pub name: String,
    pub password: String,
    pub workspace_name: Option<String>,
    pub language: Option<String>,
}

/// Changes of one's own profile; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    pub name: Option<String>,
    pub language: Option<String>,
    pub theme: Option<String>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    blocked_until: Option<Instant>,
}

/// Signs people up and in.
pub struct Accounts {
    records: Records,
    hasher: Hasher,
    sessions: Sessions,
    settings: Settings,
    /// Wrong passwords by account and address; bounded, forgotten after the longest delay without a try.
    failures: Cache<String, Arc<Mutex<Failures>>>,
}

/// Checks a BCP 47-like tag: letters, digits and hyphens, 2 – 35 characters.
pub(crate) fn check_language(tag: &str) -> Result<String> {
    let ok = (2..=35).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if ok { Ok(tag.to_owned()) } else { Err(Error::invalid("language", "`language` is not a language tag; write it like `en-US` or `zh-Hans`")) }
}

impl Accounts {
    pub fn new(records: Records, hasher: Hasher, sessions: Sessions, settings: Settings) -> Self {
        let idle = Duration::from_secs(settings.login_max_delay_secs.max(60) * 2);
        Self { records, hasher, sessions, settings, failures: Cache::builder().max_capacity(100_000).time_to_idle(idle).build() }
    }

    /// Whether the first owner is still to be made.
    pub async fn set_up_needed(&self) -> Result<bool> {
        Ok(self.records.get::<InstanceSettings>(TenantId::INSTANCE, b"instance").await?.is_none())
    }

    /// Makes the first owner and workspace, exactly once however many try; later tries get `already_set_up`.
    pub async fn set_up(&self, input: SetUp) -> Result<User> {
        let done = || Error::new(Code::AlreadySetUp, "this installation has its first owner already; sign in instead");
        if !self.set_up_needed().await? {
            return Err(done());
        }
        let language = input.language.as_deref().map(check_language).transpose()?;
        let mut user = new_user(&self.hasher, &input.email, &input.name, &input.password).await?;
        let mut instance = InstanceSettings::default();
        if let Some(language) = language {
            instance.default_language = language.clone();
            user.language = language;
        }
        let name = clean_text("workspace_name", input.workspace_name.as_deref().filter(|n| !n.trim().is_empty()).unwrap_or("Workspace"), 100)?;
        let now = Millis::now();
        let workspace = Workspace { id: TenantId::new(), name, status: WorkspaceStatus::Normal, created_at: now };
        let membership = Membership { tenant: workspace.id, user: user.id, role: Role::Owner, created_at: now };
        // The settings record is the latch: it must be new, and all four appear together or not at all.
        let mut batch = Batch::new();
        batch.insert(&instance).insert(&user).insert(&workspace).insert(&membership);
        match self.records.commit(batch).await {
            Err(e) if e.code == Code::Conflict => Err(done()),
            other => other.map(|()| user),
        }
    }

    /// Checks e-mail and password and opens a session. `invalid_credentials` tells nothing about which was wrong;
    /// `login_throttled` (with `retry_after`) after too many wrong ones for this account from this address.
    pub async fn login(&self, email: &str, password: &str, ip: &str, user_agent: &str) -> Result<Issued> {
        let wrong = || Error::new(Code::InvalidCredentials, "the e-mail address or the password is wrong");
        let canonical = Email::parse(email).map_err(|_| wrong())?;
        let slot = self.failures.get_with(format!("{}|{ip}", canonical.as_str()), || Arc::new(Mutex::new(Failures { count: 0, blocked_until: None })));
        if let Some(wait) = slot.lock().blocked_until.and_then(|t| t.checked_duration_since(Instant::now())) {
            let secs = wait.as_secs() + 1;
            return Err(Error::new(Code::LoginThrottled, format!("too many wrong passwords; try again in {secs} seconds")).retry_after(Duration::from_secs(secs)));
        }
        // Counted before the slow check, so that many tries at once do not slip through together.
        {
            let mut f = slot.lock();
            f.count += 1;
            if f.count > self.settings.login_free_attempts {
                let doublings = (f.count - self.settings.login_free_attempts - 1).min(20);
                let delay = (1u64 << doublings).min(self.settings.login_max_delay_secs.max(1));
                f.blocked_until = Some(Instant::now() + Duration::from_secs(delay));
            }
        }
        let user = self.records.find_one::<User>(TenantId::INSTANCE, "email", canonical.as_str()).await?.map(|u| u.value).filter(|u| u.active);
        let fits = password.len() <= 4096 && self.hasher.verify(password, user.as_ref().map(|u| u.password_hash.clone())).await?;
        let user = user.filter(|_| fits).ok_or_else(wrong)?;
        *slot.lock() = Failures { count: 0, blocked_until: None };
        let user = self.records.modify::<User>(TenantId::INSTANCE, user.id.as_bytes(), "account", |u| { u.last_login_at = Some(Millis::now()); Ok(()) }).await?;
        self.sessions.open(&user, ip, user_agent).await
    }

    /// Changes one's own profile.
    pub async fn update_profile(&self, user: UserId, patch: ProfilePatch) -> Result<User> {
        let name = patch.name.as_deref().map(|n| clean_text("name", n, 100)).transpose()?;
        let language = patch.language.as_deref().map(check_language).transpose()?;
        if patch.theme.as_deref().is_some_and(|t| !["light", "dark", "system"].contains(&t)) {
            return Err(Error::invalid("theme", "`theme` is one of `light`, `dark` and `system`"));
        }
        self.records
            .modify::<User>(TenantId::INSTANCE, user.as_bytes(), "account", |u| {
                u.name = name.clone().unwrap_or_else(|| u.name.clone());
                u.language = language.clone().unwrap_or_else(|| u.language.clone());
                u.theme = patch.theme.clone().unwrap_or_else(|| u.theme.clone());
                Ok(())
            })
            .await
    }

    /// Replaces one's password and ends one's other sessions. `invalid_param` when the current one is wrong.
    pub async fn change_password(&self, who: &Principal, current: &str, new: &str) -> Result<()> {
        check_password(new)?;
        if current.len() > 4096 || !self.hasher.verify(current, Some(who.user.password_hash.clone())).await? {
            // Not `invalid_credentials`: the session is as good as before.
            return Err(Error::invalid("current", "the current password is wrong"));
        }
        let hash = self.hasher.hash(new).await?;
        self.records.modify::<User>(TenantId::INSTANCE, who.user.id.as_bytes(), "account", |u| { u.password_hash = hash.clone(); Ok(()) }).await?;
        self.sessions.end_others(who.user.id, Some(who.session)).await
    }
}

/// A user who is not stored yet. Errors: a bad address, name or password.
pub(crate) async fn new_user(hasher: &Hasher, email: &str, name: &str, password: &str) -> Result<User> {
    let email = Email::parse(email)?;
    let name = clean_text("name", if name.trim().is_empty() { email.as_str() } else { name }, 300)?;
    check_password(password)?;
    Ok(User {
        id: UserId::new(),
        email,
        name,
        password_hash: hasher.hash(password).await?,
        language: "en-US".into(),
        theme: "system".into(),
        active: true,
        created_at: Millis::now(),
        last_login_at: None,
    })
}
