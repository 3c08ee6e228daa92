//! A library that is loaded into mke2fs (`LD_PRELOAD`) and takes three things off it that
//! are two fifths of an export; what is written is the same to the byte:
//!
//! - `mke2fs -d` writes every block by a system call of its own. Writes that follow each
//!   other are collected here.
//! - It computes checksums by tables. Processors have an instruction for CRC-32C, without
//!   which the exporter does not load this.
//! - It waits for the disk several times, for a file that the exporter syncs when all of
//!   it is there.
//!
//! Whatever else looks at or changes a file finds what was collected for it. mke2fs has one
//! thread. Built by build.rs, carried by the program, used by `ext4`.
#![no_std]
#![allow(unsafe_code)]

use core::ffi::{c_int, c_long, c_uchar, c_uint, c_void};
use core::ptr::{addr_of_mut, copy_nonoverlapping};
use core::slice;

unsafe extern "C" {
    /// The C library's: sets `errno`.
    fn syscall(number: c_long, ...) -> c_long;
    fn abort() -> !;
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const PREAD64: i64 = 17;
    pub const PWRITE64: i64 = 18;
    pub const CLOSE: i64 = 3;
    pub const FALLOCATE: i64 = 285;
    pub const FTRUNCATE: i64 = 77;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const PREAD64: i64 = 67;
    pub const PWRITE64: i64 = 68;
    pub const CLOSE: i64 = 57;
    pub const FALLOCATE: i64 = 47;
    pub const FTRUNCATE: i64 = 46;
}

const SIZE: usize = 1 << 20;

/// Bytes that are still to be written to `fd`, from `offset` on.
struct Pending {
    fd: c_int,
    offset: i64,
    length: usize,
    bytes: [u8; SIZE],
}

/// All zeros, so that the library itself is small.
static mut PENDING: Pending = Pending {
    fd: 0,
    offset: 0,
    length: 0,
    bytes: [0; SIZE],
};

impl Pending {
    /// The only one.
    fn get() -> &'static mut Self {
        // SAFETY: mke2fs has one thread, and nobody keeps the reference.
        unsafe { &mut *addr_of_mut!(PENDING) }
    }

    /// Writes what is pending; -1 and `errno` if that fails.
    fn flush(&mut self) -> c_long {
        let mut done = 0;
        while done < self.length {
            let at = self.offset + done as i64;
            // SAFETY: `done` is less than `length`, which is at most `SIZE`.
            let written = unsafe {
                let from = self.bytes.as_ptr().add(done);
                syscall(number::PWRITE64, self.fd, from, self.length - done, at)
            };
            if written < 0 {
                return -1;
            }
            done += written as usize;
        }
        self.length = 0;
        0
    }
}

/// `pwrite(2)`, later.
///
/// # Safety
/// As `pwrite(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, from: *const c_void, count: usize, at: i64) -> isize {
    let pending = Pending::get();
    let follows = fd == pending.fd && at == pending.offset + pending.length as i64;
    if (!follows || pending.length + count > SIZE) && pending.flush() < 0 {
        return -1;
    }
    if count > SIZE / 4 {
        // In order: nothing may be pending before what comes behind it.
        if pending.flush() < 0 {
            return -1;
        }
        // SAFETY: the caller's own arguments.
        return unsafe { syscall(number::PWRITE64, fd, from, count, at) } as isize;
    }
    if pending.length == 0 {
        pending.fd = fd;
        pending.offset = at;
    }
    // SAFETY: the caller has `count` bytes, and they fit, see above.
    unsafe {
        let to = pending.bytes.as_mut_ptr().add(pending.length);
        copy_nonoverlapping(from.cast(), to, count);
    }
    pending.length += count;
    count as isize
}

/// `pread(2)`, after what is pending.
///
/// # Safety
/// As `pread(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread64(fd: c_int, to: *mut c_void, count: usize, at: i64) -> isize {
    let pending = Pending::get();
    if fd == pending.fd && pending.flush() < 0 {
        return -1;
    }
    // SAFETY: the caller's own arguments.
    unsafe { syscall(number::PREAD64, fd, to, count, at) as isize }
}

/// `pwrite64` by its other name.
///
/// # Safety
/// As `pwrite(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, count: usize, at: i64) -> isize {
    // SAFETY: the same.
    unsafe { pwrite64(fd, from, count, at) }
}

/// `pread64` by its other name.
///
/// # Safety
/// As `pread(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread(fd: c_int, to: *mut c_void, count: usize, at: i64) -> isize {
    // SAFETY: the same.
    unsafe { pread64(fd, to, count, at) }
}

/// Writes what is pending, and leaves the waiting to the exporter.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(_fd: c_int) -> c_int {
    Pending::get().flush() as c_int
}

/// `close(2)`, after what is pending: mke2fs ends a file by it, or by `fsync`.
///
/// # Safety
/// As `close(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let pending = Pending::get();
    if fd == pending.fd {
        if pending.flush() < 0 {
            return -1;
        }
        pending.fd = -1;
    }
    // SAFETY: the caller's own argument.
    unsafe { syscall(number::CLOSE, fd) as c_int }
}

/// `fallocate(2)`, after what is pending.
#[unsafe(no_mangle)]
pub extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: i64, length: i64) -> c_int {
    if Pending::get().flush() < 0 {
        return -1;
    }
    // SAFETY: no pointers.
    unsafe { syscall(number::FALLOCATE, fd, mode, offset, length) as c_int }
}

/// `ftruncate(2)`, after what is pending.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
    if Pending::get().flush() < 0 {
        return -1;
    }
    // SAFETY: no pointers.
    unsafe { syscall(number::FTRUNCATE, fd, length) as c_int }
}

/// CRC-32C without inversions, as libext2fs calls it.
///
/// # Safety
/// `bytes` are `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ext2fs_crc32c_le(crc: c_uint, bytes: *const c_uchar, length: usize) -> c_uint {
    // SAFETY: the caller's promise, and the exporter's to look for the instruction.
    unsafe { checksum(crc, slice::from_raw_parts(bytes, length)) }
}

// The instructions are safe to use here from Rust 1.87 on, and had to be wrapped before.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[allow(unused_unsafe)]
unsafe fn checksum(crc: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks_of_eight();
    // SAFETY: the function has the feature.
    let crc = words.fold(u64::from(crc), |crc, word| unsafe { _mm_crc32_u64(crc, word) });
    // SAFETY: the same.
    rest.iter().fold(crc as u32, |crc, byte| unsafe { _mm_crc32_u8(crc, *byte) })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "crc")]
#[allow(unused_unsafe)]
unsafe fn checksum(crc: u32, bytes: &[u8]) -> u32 {
    use core::arch::aarch64::{__crc32cb, __crc32cd};
    let (words, rest) = bytes.as_chunks_of_eight();
    // SAFETY: the function has the feature.
    let crc = words.fold(crc, |crc, word| unsafe { __crc32cd(crc, word) });
    // SAFETY: the same.
    rest.iter().fold(crc, |crc, byte| unsafe { __crc32cb(crc, *byte) })
}

trait Words {
    /// Little-endian words of eight bytes, and what is left.
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = u64>, &[u8]);
}

impl Words for [u8] {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = u64>, &[u8]) {
        let chunks = self.chunks_exact(8);
        let rest = chunks.remainder();
        let word = |c: &[u8]| u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]);
        (chunks.map(word), rest)
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: ends the process.
    unsafe { abort() }
}
