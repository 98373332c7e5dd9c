//! Giving back memory that llama.cpp has touched but not used.

/// Gives back the whole pages inside `[start, start + bytes)`; they read as zero from then on.
///
/// llama.cpp clears the buffers it reserves, which makes the kernel provide every page of them: vocabulary × batch floats
/// of likelihoods for an embedding model that has none, and a key-value cache for the longest conversation.
///
/// # Safety
/// The range lies in private anonymous memory whose content nobody needs and nobody reads or writes meanwhile.
#[allow(unsafe_code)]
pub unsafe fn give_back(start: *const u8, bytes: usize) {
    let page = page_size();
    let begin = (start as usize).next_multiple_of(page);
    let end = (start as usize + bytes) / page * page;
    if end > begin {
        // SAFETY: the caller's promise; a failure changes nothing.
        unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_DONTNEED) };
    }
}

/// Gives back every page of large anonymous mappings that holds only zeros, and what the allocator keeps for later.
/// Returns the bytes given back. Reading such a page again gives zeros, so nothing changes for its owner.
///
/// To be called while no other thread writes: a page written between the look and the call would lose that.
pub fn give_back_zeros() -> usize {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    // SAFETY: returns free memory of the allocator; no argument can be wrong.
    unsafe {
        libc::malloc_trim(0);
    }
    let page = page_size();
    let mut given = 0;
    for (start, end) in large_anonymous() {
        let mut at = start;
        while at < end {
            let begin = at;
            while at < end && is_zero(at, page) {
                at += page;
            }
            if at > begin {
                // SAFETY: private anonymous pages that hold only zeros; the caller lets no other thread write.
                #[allow(unsafe_code)]
                unsafe {
                    give_back(begin as *const u8, at - begin)
                };
                given += at - begin;
            }
            at += page;
        }
    }
    given
}

/// Smallest mapping that is looked at, in bytes: well above what threads and small allocations have.
const LARGE: usize = 16 << 20;

/// Writable private mappings without a file, from the kernel's list; the allocator's own heap is not among them.
fn large_anonymous() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let (range, rights, _, _, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        (rights == "rw-p" && inode == "0" && fields.next().is_none() && end - start >= LARGE).then_some((start, end))
    };
    maps.lines().filter_map(parse).collect()
}

#[allow(unsafe_code)]
fn is_zero(at: usize, page: usize) -> bool {
    // SAFETY: `at` is the beginning of a page inside a mapping this process can read.
    let words = unsafe { std::slice::from_raw_parts(at as *const u64, page / 8) };
    words.iter().all(|w| *w == 0)
}

#[allow(unsafe_code)]
fn page_size() -> usize {
    // SAFETY: reads a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * page_size()
    }

    #[test]
    fn pages_of_zeros_are_given_back_and_the_others_keep_what_they_hold() {
        let mut memory = vec![1u8; 64 << 20];
        memory[8 << 20..].fill(0);
        memory[40 << 20] = 7;
        let before = resident();
        let given = give_back_zeros();
        assert!(given >= 55 << 20, "{given}");
        assert!(before.saturating_sub(resident()) >= 50 << 20);
        assert!(memory[..8 << 20].iter().all(|b| *b == 1) && memory[40 << 20] == 7 && memory[50 << 20] == 0);
    }
}
