//! What the C library's allocator is told before anything runs.
//!
//! Owns one setting: great blocks come from the kernel and go back to it at once. By default glibc raises its limit for
//! those to 32 MiB as soon as one has been freed, and from then on keeps the chunks that one thread read, a second
//! compressed and a third uploaded in an arena of each: a backup of wide values took 390 MiB, of which 260 were
//! holes; with this it takes 130, in the same time.

/// Least size of a block that is given back to the kernel when it is freed: smaller ones are used again sooner than a system
/// call pays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GREAT: libc::c_int = 1 << 20;

/// Bounds what is kept of freed memory; called before there is a second thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back_great_blocks() {
    // A refusal changes nothing but how much memory is kept.
    #[expect(unsafe_code, reason = "only the C library can be told")]
    // SAFETY: mallopt takes plain numbers and may be called at any time.
    let _told = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, GREAT) };
}

/// Elsewhere the allocator is left as it is.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_great_blocks() {}
