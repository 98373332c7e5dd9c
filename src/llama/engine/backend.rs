//! What the scheduler needs of a model context.

use domain::Result;

/// One token of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub token: u32,
    /// Place in its sequence, from 0.
    pub position: u32,
    pub sequence: u32,
    /// Whether logits are wanted behind it.
    pub logits: bool,
}

/// A context with a unified key-value cache: sequences are cheap names for sets of cells.
pub trait Backend {
    /// Cells in all: the context size in tokens.
    fn context(&self) -> usize;
    /// Sequence ids run from 0 to this, exclusive.
    fn sequences(&self) -> usize;
    /// Most tokens in one batch.
    fn batch(&self) -> usize;
    /// Whether a beginning of a sequence may be copied; otherwise only whole ones (recurrent and hybrid models).
    fn copies_partly(&self) -> bool;
    /// Computes the batch. Errors leave the cache as it was.
    fn decode(&mut self, items: &[Item]) -> Result<()>;
    /// Logits behind the item at this place of the last batch; shape `[vocabulary]`.
    fn logits(&mut self, place: usize) -> &[f32];
    /// Lets `to`, which is empty, share the first `len` tokens of `from`.
    fn copy(&mut self, from: u32, to: u32, len: u32);
    /// Empties a sequence.
    fn clear(&mut self, sequence: u32);
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use domain::{Code, Error};
    use std::collections::{HashMap, HashSet};

    /// A "model" of 64 tokens whose next token is a hash of everything before it, so that a wrong cell shows at once.
    pub struct FakeModel {
        pub context: usize,
        pub sequences: usize,
        pub partly: bool,
        /// Sequence → cell ids; cell → (token, position).
        rows: HashMap<u32, Vec<u64>>,
        cells: HashMap<u64, (u32, u32)>,
        next: u64,
        logits: Vec<Vec<f32>>,
        pub decoded: usize,
        pub batches: Vec<Vec<Item>>,
    }

    pub const VOCABULARY: u32 = 64;

    /// What the fake draws after `tokens` at temperature 0.
    pub fn next_token(tokens: &[u32]) -> u32 {
        tokens.iter().fold(7u32, |h, t| h.wrapping_mul(31).wrapping_add(t + 1)) % (VOCABULARY - 1)
    }

    impl FakeModel {
        pub fn new(context: usize, sequences: usize) -> Self {
            Self { context, sequences, partly: true, rows: HashMap::new(), cells: HashMap::new(), next: 0, logits: Vec::new(), decoded: 0, batches: Vec::new() }
        }
        pub fn used(&self) -> usize {
            self.rows.values().flatten().collect::<HashSet<_>>().len()
        }
    }

    impl Backend for FakeModel {
        fn context(&self) -> usize {
            self.context
        }
        fn sequences(&self) -> usize {
            self.sequences
        }
        fn batch(&self) -> usize {
            32
        }
        fn copies_partly(&self) -> bool {
            self.partly
        }
        fn decode(&mut self, items: &[Item]) -> Result<()> {
            assert!(!items.is_empty() && items.len() <= self.batch(), "a batch of {} tokens", items.len());
            if self.used() + items.len() > self.context {
                return Err(Error::new(Code::Internal, "no cell left"));
            }
            self.logits.clear();
            for item in items {
                assert!((item.sequence as usize) < self.sequences);
                let row = self.rows.entry(item.sequence).or_default();
                assert_eq!(row.len(), item.position as usize, "a gap in sequence {}", item.sequence);
                row.push(self.next);
                self.cells.insert(self.next, (item.token, item.position));
                self.next += 1;
                let tokens: Vec<u32> = row.iter().map(|c| self.cells[c].0).collect();
                let mut logits = vec![0.0; VOCABULARY as usize];
                if item.logits {
                    logits[next_token(&tokens) as usize] = 10.0;
                }
                self.logits.push(logits);
            }
            self.decoded += items.len();
            self.batches.push(items.to_vec());
            Ok(())
        }
        fn logits(&mut self, place: usize) -> &[f32] {
            &self.logits[place]
        }
        fn copy(&mut self, from: u32, to: u32, len: u32) {
            let row = self.rows[&from][..len as usize].to_vec();
            assert!(self.rows.get(&to).is_none_or(Vec::is_empty), "a copy onto a full sequence");
            assert!(self.partly || len as usize == self.rows[&from].len());
            self.rows.insert(to, row);
        }
        fn clear(&mut self, sequence: u32) {
            self.rows.remove(&sequence);
        }
    }
}
