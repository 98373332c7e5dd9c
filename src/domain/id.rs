//! Identifiers: UUIDv7 newtypes (RFC 9562), time-ordered, so that a key scan is a time scan.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

use crate::{Code, Error};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new time-ordered id.
            #[expect(clippy::new_without_default, reason = "a new id is an event, not a default")]
            pub fn new() -> Self { Self(Uuid::now_v7()) }
            pub const fn nil() -> Self { Self(Uuid::nil()) }
            pub fn as_bytes(&self) -> &[u8; 16] { self.0.as_bytes() }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self.0) }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Uuid::parse_str(text).map(Self).map_err(|_| Error::new(Code::NotFound, format!("`{text}` is not the id of a {}", $noun)))
            }
        }
    )*};
}

ids! {
    /// A workspace. Every tenant-owned record is stored below its id.
    TenantId = "workspace";
    UserId = "user";
    SessionId = "session";
    KeyId = "key";
    AppId = "app";
    WorkflowId = "workflow";
    RunId = "run";
    ConversationId = "conversation";
    MessageId = "message";
    EndUserId = "end user";
    DatasetId = "dataset";
    FileId = "file";
    DownloadId = "download";
}

impl TenantId {
    /// The tenant of records that belong to the installation, not to a workspace (users, model settings).
    pub const INSTANCE: TenantId = TenantId(Uuid::nil());
}
