//! Records: typed, indexed, committed in atomic and durable batches.
//!
//! One seam serves every noun. A back-end implements [`RecordStore`] over opaque bytes; code above speaks
//! through [`Records`], which knows the nouns (`domain::record::Record`). A new noun needs no change in any back-end.

use async_trait::async_trait;
use std::{marker::PhantomData, ops::Deref, sync::Arc};

use domain::{
    Code, Error, Result,
    id::TenantId,
    record::{IndexEntry, Record},
};

/// A record as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: Vec<u8>,
    /// Schema version of `bytes`.
    pub version: u16,
    /// Rises by one with each change of this record; starts at 1.
    pub revision: u64,
    /// The record as JSON.
    pub bytes: Vec<u8>,
}

/// What must hold for a write to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    /// The record must not exist.
    Absent,
    /// The record must exist.
    Present,
    /// The record must exist at this revision (optimistic concurrency).
    Revision(u64),
}

/// One change in a batch.
#[derive(Clone, Debug)]
pub enum Write {
    Put { kind: &'static str, tenant: TenantId, id: Vec<u8>, version: u16, bytes: Vec<u8>, indexes: Vec<IndexEntry>, expect: Expect },
    Delete { kind: &'static str, tenant: TenantId, id: Vec<u8>, expect: Expect },
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch(pub Vec<Write>);

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }
    fn push<R: Record>(&mut self, record: &R, expect: Expect) -> &mut Self {
        self.0.push(Write::Put {
            kind: R::KIND,
            tenant: record.tenant(),
            id: record.id(),
            version: R::VERSION,
            bytes: serde_json::to_vec(record).expect("a record serialises"),
            indexes: record.indexes(),
            expect,
        });
        self
    }
    /// Writes the record whether or not it exists.
    pub fn put<R: Record>(&mut self, record: &R) -> &mut Self {
        self.push(record, Expect::Any)
    }
    /// Writes a record that must be new; [`Code::Conflict`] otherwise.
    pub fn insert<R: Record>(&mut self, record: &R) -> &mut Self {
        self.push(record, Expect::Absent)
    }
    /// Replaces the record read at `revision`; [`Code::Conflict`] if it has changed since.
    pub fn update<R: Record>(&mut self, record: &R, revision: u64) -> &mut Self {
        self.push(record, Expect::Revision(revision))
    }
    /// Removes a record; nothing happens if it is not there.
    pub fn delete<R: Record>(&mut self, tenant: TenantId, id: impl Into<Vec<u8>>) -> &mut Self {
        self.0.push(Write::Delete { kind: R::KIND, tenant, id: id.into(), expect: Expect::Any });
        self
    }
}

/// Which records, in which order.
#[derive(Clone, Debug)]
pub struct Scan {
    pub kind: &'static str,
    pub tenant: TenantId,
    /// `None`: by id. `Some(name)`: by that index's key, then id.
    pub index: Option<&'static str>,
    /// Only keys (index keys or ids) that start with this.
    pub prefix: Vec<u8>,
    /// Only keys equal to `prefix`, not longer ones.
    pub exact: bool,
    /// Newest/greatest first.
    pub reverse: bool,
    /// Go on after this cursor (from [`Page::next`]).
    pub after: Option<Vec<u8>>,
    pub limit: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where to go on; `None` when this was the last page.
    pub next: Option<Vec<u8>>,
}

/// A place that keeps records. Implementations prove themselves with `contract::records`.
#[async_trait]
pub trait RecordStore: Send + Sync + 'static {
    async fn get(&self, kind: &'static str, tenant: TenantId, id: &[u8]) -> Result<Option<Stored>>;
    async fn scan(&self, scan: Scan) -> Result<Page<Stored>>;
    /// Number of records of a kind in a tenant.
    async fn count(&self, kind: &'static str, tenant: TenantId) -> Result<u64>;
    /// Applies all writes or none. Returns once they would survive `kill -9` and power loss.
    /// Errors: [`Code::Conflict`] when an expectation or a unique index is violated (names kind and index);
    /// [`Code::StorageFull`] when the disk is full. After an error nothing has changed.
    async fn commit(&self, batch: Batch) -> Result<()>;
}

/// Whether what a write expects of a record holds; `revision` is `None` when the record does not exist.
pub fn check(kind: &str, expect: Expect, revision: Option<u64>) -> Result<()> {
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => revision.is_none(),
        Expect::Present => revision.is_some(),
        Expect::Revision(wanted) => revision == Some(wanted),
    };
    if holds { Ok(()) } else { Err(Error::new(Code::Conflict, format!("this `{kind}` record was changed or made by somebody else in the meantime; read it again"))) }
}

/// The error of a violated unique index.
pub fn taken_error(kind: &str, index: &str) -> Error {
    Error::new(Code::Conflict, format!("another `{kind}` has this `{index}` already"))
}

/// The error of a cursor that no scan gave out.
pub fn bad_cursor() -> Error {
    Error::invalid("cursor", "this cursor was not given out by this list; start again without one")
}

/// A typed record together with the revision it was read at.
#[derive(Clone, Debug)]
pub struct Versioned<R> {
    pub value: R,
    pub revision: u64,
}
impl<R> Deref for Versioned<R> {
    type Target = R;
    fn deref(&self) -> &R {
        &self.value
    }
}

/// The typed face of a [`RecordStore`].
#[derive(Clone)]
pub struct Records(Arc<dyn RecordStore>);

fn decode<R: Record>(stored: Stored) -> Result<Versioned<R>> {
    let value = serde_json::from_slice(&stored.bytes)
        .map_err(|e| Error::new(Code::StoreCorrupt, format!("a stored `{}` record (schema version {}) cannot be read", R::KIND, stored.version)).source(e))?;
    Ok(Versioned { value, revision: stored.revision })
}

impl Records {
    pub fn new(store: Arc<dyn RecordStore>) -> Self {
        Self(store)
    }
    pub fn store(&self) -> &Arc<dyn RecordStore> {
        &self.0
    }
    pub async fn get<R: Record>(&self, tenant: TenantId, id: impl AsRef<[u8]>) -> Result<Option<Versioned<R>>> {
        self.0.get(R::KIND, tenant, id.as_ref()).await?.map(decode).transpose()
    }
    /// All records whose `index` key equals `key`, at most `limit`.
    pub async fn find<R: Record>(&self, tenant: TenantId, index: &'static str, key: impl AsRef<[u8]>, limit: usize) -> Result<Vec<Versioned<R>>> {
        let scan = Scan { exact: true, prefix: key.as_ref().to_vec(), ..self.all::<R>(tenant).by(index).limit(limit).scan };
        self.0.scan(scan).await?.items.into_iter().map(decode).collect()
    }
    /// The record whose unique `index` key equals `key`.
    pub async fn find_one<R: Record>(&self, tenant: TenantId, index: &'static str, key: impl AsRef<[u8]>) -> Result<Option<Versioned<R>>> {
        Ok(self.find(tenant, index, key, 1).await?.pop())
    }
    /// Begins a scan over all records of a kind in a tenant.
    pub fn all<R: Record>(&self, tenant: TenantId) -> Query<'_, R> {
        let scan = Scan { kind: R::KIND, tenant, index: None, prefix: Vec::new(), exact: false, reverse: false, after: None, limit: 1000 };
        Query { store: &*self.0, scan, kind: PhantomData }
    }
    pub async fn count<R: Record>(&self, tenant: TenantId) -> Result<u64> {
        self.0.count(R::KIND, tenant).await
    }
    pub async fn commit(&self, batch: Batch) -> Result<()> {
        self.0.commit(batch).await
    }
    pub async fn put<R: Record>(&self, record: &R) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(record);
        self.commit(batch).await
    }
    pub async fn insert<R: Record>(&self, record: &R) -> Result<()> {
        let mut batch = Batch::new();
        batch.insert(record);
        self.commit(batch).await
    }
    pub async fn delete<R: Record>(&self, tenant: TenantId, id: impl Into<Vec<u8>>) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete::<R>(tenant, id);
        self.commit(batch).await
    }
    /// Reads, changes and writes back, trying anew when somebody else was faster (at most 16 times).
    pub async fn modify<R: Record>(&self, tenant: TenantId, id: impl AsRef<[u8]>, noun: &str, mut change: impl FnMut(&mut R) -> Result<()>) -> Result<R> {
        let id = id.as_ref();
        for _ in 0..16 {
            let found = self.get::<R>(tenant, id).await?.ok_or_else(|| Error::new(Code::NotFound, format!("this {noun} does not exist")))?;
            let (mut value, revision) = (found.value, found.revision);
            change(&mut value)?;
            let mut batch = Batch::new();
            batch.update(&value, revision);
            match self.commit(batch).await {
                Err(e) if e.code == Code::Conflict => tokio::task::yield_now().await,
                other => return other.map(|()| value),
            }
        }
        Err(Error::new(Code::Conflict, format!("this {noun} is being changed by others; try again")))
    }
}

/// A scan being described.
pub struct Query<'a, R> {
    store: &'a dyn RecordStore,
    scan: Scan,
    kind: PhantomData<R>,
}
impl<R: Record> Query<'_, R> {
    pub fn by(mut self, index: &'static str) -> Self {
        self.scan.index = Some(index);
        self
    }
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.scan.prefix = prefix.into();
        self
    }
    pub fn newest_first(mut self) -> Self {
        self.scan.reverse = true;
        self
    }
    pub fn after(mut self, cursor: Option<Vec<u8>>) -> Self {
        self.scan.after = cursor;
        self
    }
    pub fn limit(mut self, limit: usize) -> Self {
        self.scan.limit = limit;
        self
    }
    pub async fn page(self) -> Result<Page<Versioned<R>>> {
        let page = self.store.scan(self.scan).await?;
        Ok(Page { items: page.items.into_iter().map(decode).collect::<Result<_>>()?, next: page.next })
    }
    /// Every record, page after page.
    pub async fn to_vec(mut self) -> Result<Vec<R>> {
        let mut all = Vec::new();
        loop {
            let page = self.store.scan(self.scan.clone()).await?;
            for stored in page.items {
                all.push(decode(stored)?.value);
            }
            match page.next {
                Some(next) => self.scan.after = Some(next),
                None => return Ok(all),
            }
        }
    }
}
