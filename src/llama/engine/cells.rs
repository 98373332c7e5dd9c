//! Which cells of the cache are taken, and by how many sequences.

/// Reference counts of the cells. Ids are names for accounting; where a cell lies is the backend's affair.
pub struct Cells {
    references: Vec<u32>,
    free: Vec<u32>,
}

impl Cells {
    pub fn new(total: usize) -> Self {
        Self { references: vec![0; total], free: (0..total as u32).rev().collect() }
    }
    pub fn total(&self) -> usize {
        self.references.len()
    }
    pub fn free(&self) -> usize {
        self.free.len()
    }
    /// Takes a free cell; `None` when all are taken.
    pub fn take(&mut self) -> Option<u32> {
        let cell = self.free.pop()?;
        self.references[cell as usize] = 1;
        Some(cell)
    }
    pub fn share(&mut self, cells: &[u32]) {
        cells.iter().for_each(|c| self.references[*c as usize] += 1);
    }
    pub fn release(&mut self, cells: &[u32]) {
        for cell in cells {
            let count = &mut self.references[*cell as usize];
            *count -= 1;
            if *count == 0 {
                self.free.push(*cell);
            }
        }
    }
}
