//! The program that binfmt_misc starts for every ARM program of the build.
//!
//! It looks the program up in a table and replaces itself by the native twin, or by
//! qemu-user. It has no policy of its own: which program has a twin, and why, is decided
//! by the builder, which writes the table (src/native/dispatch/table.rs). No heap and no run-time
//! start-up of its own: it is started some ten thousand times a build.
//!
//! Called by the kernel as `dispatcher PATH ARGV0 ARGS…` (flag P of binfmt_misc). The table
//! is text, lines sorted by their first field, fields separated by tabs:
//!
//! ```text
//! KEY  n|s  PROGRAM  ARGS…        n: always; s: only for scripts that have a line themselves
//! ```
//!
//! Among ARGS, `{0}` stands for ARGV0, `{path}` for PATH, and `?FILE?ARG` for ARG if there is
//! a FILE. `&OPTION` is no argument: with OPTION as the first one, the last one may be a package
//! of the build's pool and is then replaced by its quick form (src/archives/pool/quick.rs). A script's key is `INTERPRETER SCRIPT`, or `INTERPRETER DIRECTORY/*`,
//! and its fields after the second are words that no argument may have in it; the key `!` is the emulator.
#![no_main]
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr::{null, null_mut};

#[link(name = "c")]
unsafe extern "C" {
    static environ: *const *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn lseek(fd: c_int, offset: c_long, whence: c_int) -> c_long;
    fn mmap(at: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: c_long) -> *mut c_void;
    fn realpath(path: *const c_char, resolved: *mut c_char) -> *mut c_char;
    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize;
    fn getauxval(kind: usize) -> usize;
    fn access(path: *const c_char, mode: c_int) -> c_int;
    fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: u32, into: *mut Stat) -> c_int;
    fn getenv(name: *const c_char) -> *const c_char;
    fn __errno_location() -> *mut c_int;
}

const O_CLOEXEC: c_int = 0o2_000_000;
const SEEK_END: c_int = 2;
const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE: c_int = 2;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;
const AT_EXECFD: usize = 2;
const AT_FDCWD: c_int = -100;
/// Size, and times of the last change of contents and of anything.
const STATX: u32 = 0x200 | 0x80 | 0x40;
const ENOENT: c_int = 2;
const PATH_MAX: usize = 4096;
/// Arguments a table line may add, with room to spare.
const ADDED: usize = 32;

const TABLE: &CStr = c"/.westwork-gen/dispatch.table";
/// Where apt has packages, the same ones as they are in the pool, and their quick forms.
const ARCHIVES: &[u8] = b"/var/cache/apt/archives/";
const POOL: &[u8] = b"/.westwork-gen/packages/";
const QUICK: &[u8] = b"/.westwork-gen/quick/";
const EMULATOR_VAR: &CStr = c"WESTWORK_GEN_EMULATOR";

/// Entry point called by the C library.
///
/// # Safety
/// `argv` is the kernel's: `argc` valid strings and a null pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the kernel gives `argc` strings; everything below stays within them, within the
    // mapped table, or within the buffers made here.
    unsafe {
        if argc < 3 {
            complain(c"westwork-gen's dispatcher is started by the kernel only\n");
            return 126;
        }
        // With the flag C the kernel hands the program over as a descriptor as well: the lowest
        // free one, which may be standard input.
        *__errno_location() = 0;
        let fd = getauxval(AT_EXECFD);
        if fd != 0 || *__errno_location() == 0 {
            close(fd as c_int);
        }
        let args = core::slice::from_raw_parts(argv, argc as usize);
        if let Some(table) = map_table() {
            let mut buffer = [0u8; PATH_MAX * 2];
            // A library of the target's that is to be loaded first (fakeroot) fits no twin.
            let preload = getenv(c"LD_PRELOAD".as_ptr());
            let plain = preload == null() || *preload == 0;
            if let Some(line) = if plain { twin(table, args, &mut buffer) } else { None } {
                start(line, args);
                // Slow, and nobody would know why.
                if *__errno_location() == ENOENT {
                    complain(c"westwork-gen: a native program is not where the table says; it is emulated\n");
                }
            }
            if let Some(line) = find(table, b"!") {
                start(line, args);
            }
        }
        emulate_without_table(args);
        let missing = *__errno_location() == ENOENT;
        complain(c"westwork-gen: no emulator in this root; run ARM programs by on_chroot\n");
        if missing { 127 } else { 126 }
    }
}

unsafe fn complain(text: &CStr) {
    // SAFETY: the text is a valid buffer.
    unsafe { write(2, text.as_ptr().cast(), text.to_bytes().len()) };
}

/// The table, mapped writable (privately): fields are ended with a zero byte in place.
unsafe fn map_table() -> Option<&'static mut [u8]> {
    // SAFETY: plain system calls; the mapping is as long as the file.
    unsafe {
        let fd = open(TABLE.as_ptr(), O_CLOEXEC);
        if fd < 0 {
            return None;
        }
        let len = lseek(fd, 0, SEEK_END);
        let at = if len > 0 { mmap(null_mut(), len as usize, PROT_READ_WRITE, MAP_PRIVATE, fd, 0) } else { null_mut() };
        close(fd);
        if at.is_null() || at as isize == -1 {
            return None;
        }
        Some(core::slice::from_raw_parts_mut(at.cast(), len as usize))
    }
}

/// The line for the program, or for the script an interpreter is started with.
unsafe fn twin<'t>(table: &'t mut [u8], args: &[*const c_char], buffer: &mut [u8; PATH_MAX * 2]) -> Option<&'t mut [u8]> {
    // SAFETY: `buffer` has PATH_MAX bytes from each place `realpath` writes to.
    unsafe {
        if realpath(args[1], buffer.as_mut_ptr().cast()).is_null() {
            return None;
        }
        let path_len = CStr::from_ptr(buffer.as_ptr().cast()).to_bytes().len();
        let range = find_range(table, &buffer[..path_len])?;
        let mode = table[range.0 + path_len + 1];
        if mode == b'n' {
            return Some(&mut table[range.0..range.1]);
        }
        let what = script(&args[3..])?;
        buffer[path_len] = b' ';
        let end = append_script(what, buffer, path_len + 1)?;
        let found = match find_range(table, &buffer[..end]) {
            Some(found) => found,
            None => {
                let slash = buffer[..end].iter().rposition(|byte| *byte == b'/')?;
                if slash <= path_len {
                    return None;
                }
                buffer[slash + 1] = b'*';
                find_range(table, &buffer[..slash + 2])?
            }
        };
        if mentions(&args[3..], &table[found.0..found.1]) {
            return None;
        }
        Some(&mut table[range.0..range.1])
    }
}

/// Whether an argument has a word in it that a script's line excludes.
unsafe fn mentions(args: &[*const c_char], line: &[u8]) -> bool {
    let words = line.split(|byte| matches!(byte, b'\t' | b'\n')).skip(2);
    words.filter(|word| !word.is_empty()).any(|word| {
        args.iter().any(|arg| {
            // SAFETY: arguments are valid strings.
            let arg = unsafe { CStr::from_ptr(*arg) }.to_bytes();
            arg.windows(word.len()).any(|part| part == word)
        })
    })
}

/// What an interpreter is told to run.
enum Script {
    File(*const c_char),
    /// Program text on the command line.
    Text,
    Module(*const c_char),
}

unsafe fn script(args: &[*const c_char]) -> Option<Script> {
    for (i, arg) in args.iter().enumerate() {
        // SAFETY: arguments are valid strings.
        let bytes = unsafe { CStr::from_ptr(*arg) }.to_bytes();
        match bytes {
            [b'-', b'm'] => return args.get(i + 1).map(|module| Script::Module(*module)),
            [b'-', b'-'] => {}
            [b'-', b'c'] | [b'-', .., b'e'] => return Some(Script::Text),
            [b'-', _, ..] => {}
            _ => return Some(Script::File(*arg)),
        }
    }
    None
}

unsafe fn append_script(what: Script, buffer: &mut [u8; PATH_MAX * 2], at: usize) -> Option<usize> {
    // SAFETY: `at` is at most PATH_MAX, so PATH_MAX bytes follow it.
    unsafe {
        let end = match what {
            Script::Text => copy(b"-e", buffer, at)?,
            Script::Module(name) => {
                let end = copy(b"-m ", buffer, at)?;
                copy(CStr::from_ptr(name).to_bytes(), buffer, end)?
            }
            Script::File(path) => {
                let at_ptr: *mut c_char = buffer[at..].as_mut_ptr().cast();
                if at > PATH_MAX || realpath(path, at_ptr).is_null() {
                    return None;
                }
                at + CStr::from_ptr(at_ptr).to_bytes().len()
            }
        };
        // Room for the `*` of a directory's key.
        (end + 2 < buffer.len()).then_some(end)
    }
}

fn copy(text: &[u8], buffer: &mut [u8], at: usize) -> Option<usize> {
    buffer.get_mut(at..at + text.len())?.copy_from_slice(text);
    Some(at + text.len())
}

fn find<'t>(table: &'t mut [u8], key: &[u8]) -> Option<&'t mut [u8]> {
    let (start, end) = find_range(table, key)?;
    Some(&mut table[start..end])
}

/// Binary search for the line that begins with `key` and a tab: its start, and its end with
/// the newline.
fn find_range(table: &[u8], key: &[u8]) -> Option<(usize, usize)> {
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = table[..middle].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let end = table[middle..].iter().position(|b| *b == b'\n').map_or(table.len(), |i| middle + i + 1);
        let line = &table[start..end];
        let name = &line[..line.iter().position(|b| *b == b'\t').unwrap_or(line.len())];
        match name.cmp(key) {
            core::cmp::Ordering::Equal => return Some((start, end)),
            core::cmp::Ordering::Less => low = end,
            core::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

/// Replaces the process by what `line` says. Returns only if that cannot be started.
unsafe fn start(line: &mut [u8], args: &[*const c_char]) {
    let Some(argv) = new_argv(args.len() + ADDED) else {
        return;
    };
    for byte in line.iter_mut() {
        if matches!(*byte, b'\t' | b'\n') {
            *byte = 0;
        }
    }
    let mut n = 0;
    let mut last = None;
    for field in line.split_mut(|byte| *byte == 0).skip(2) {
        if field.is_empty() {
            continue;
        }
        argv[n] = match &*field {
            b"{0}" => args[2],
            b"{path}" => args[1],
            [b'&', option @ ..] => {
                // SAFETY: arguments are valid strings.
                last = unsafe { quick_form(option, &args[3..]) };
                continue;
            }
            [b'?', ..] => match conditional(field) {
                Some(arg) => arg,
                None => continue,
            },
            _ => field.as_ptr().cast(),
        };
        n += 1;
        if n == ADDED {
            return;
        }
    }
    argv[n..n + args.len() - 3].copy_from_slice(&args[3..]);
    if let Some(path) = last {
        argv[n + args.len() - 4] = path;
    }
    // SAFETY: `argv` ends with a null pointer: fresh memory is zero.
    unsafe { execve(argv[0], argv.as_ptr(), environ) };
}

/// What statx(2) tells, in words: 5 is the size; 12 and 13, 14 and 15 are seconds and nanoseconds of
/// the last change of anything and of the contents.
type Stat = [u64; 32];

/// The quick form of the package that the last argument is, if the first one is `option`. It must
/// be the very file that the pool has: a step may put others of the same name there. Nothing but
/// the kernel sets the time of the last change.
unsafe fn quick_form(option: &[u8], args: &[*const c_char]) -> Option<*const c_char> {
    // SAFETY: arguments are valid strings; each buffer is long enough for what is put into it.
    unsafe {
        let (first, last) = (args.first()?, *args.last()?);
        if args.len() < 2 || CStr::from_ptr(*first).to_bytes() != option {
            return None;
        }
        let mut real = [0u8; PATH_MAX];
        // apt makes links in a directory of its own for what it gives to dpkg.
        if realpath(last, real.as_mut_ptr().cast()).is_null() {
            return None;
        }
        let name = CStr::from_ptr(real.as_ptr().cast()).to_bytes().strip_prefix(ARCHIVES)?;
        let below = |dir: &[u8]| {
            let path = new_bytes(PATH_MAX)?;
            let end = copy(dir, path, 0).and_then(|end| copy(name, &mut path[..PATH_MAX - 1], end));
            end.map(|_| path.as_ptr().cast::<c_char>())
        };
        let (mut here, mut there): (Stat, Stat) = ([0; 32], [0; 32]);
        let known = statx(AT_FDCWD, real.as_ptr().cast(), 0, STATX, &raw mut here) == 0
            && statx(AT_FDCWD, below(POOL)?, 0, STATX, &raw mut there) == 0;
        let same = here[5] == there[5] && here[12..16] == there[12..16];
        let quick = below(QUICK)?;
        (known && same && access(quick, 0) == 0).then_some(quick)
    }
}

/// ARG of `?FILE?ARG`, which a zero byte ends in the table, if FILE exists.
fn conditional(field: &mut [u8]) -> Option<*const c_char> {
    let end = 1 + field[1..].iter().position(|byte| *byte == b'?')?;
    field[end] = 0;
    let (file, arg) = (field[1..].as_ptr(), field[end + 1..].as_ptr());
    // SAFETY: `file` now ends with a zero byte.
    (unsafe { access(file.cast(), 0) } == 0).then_some(arg.cast())
}

/// Zeroed room for an argument list of any length.
fn new_argv(len: usize) -> Option<&'static mut [*const c_char]> {
    let bytes = new_bytes(len * size_of::<*const c_char>())?;
    // SAFETY: whole pages, of which every bit pattern is a pointer.
    Some(unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) })
}

/// Zeroed pages that stay.
fn new_bytes(len: usize) -> Option<&'static mut [u8]> {
    // SAFETY: fresh anonymous memory of that size, never shared.
    unsafe {
        let at = mmap(null_mut(), len, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
        (at as isize != -1).then(|| core::slice::from_raw_parts_mut(at.cast(), len))
    }
}

/// Outside a prepared root: a host script starts a program of the target by its full path,
/// or changes root by itself.
unsafe fn emulate_without_table(args: &[*const c_char]) {
    // SAFETY: strings are valid; `path` is long enough for what is put into it.
    unsafe {
        let emulator = getenv(EMULATOR_VAR.as_ptr());
        let Some(argv) = new_argv(args.len() + 2) else {
            return;
        };
        if emulator == null() {
            return;
        }
        argv[0] = emulator;
        argv[1] = c"-0".as_ptr();
        argv[2] = args[2];
        argv[3] = args[1];
        argv[4..4 + args.len() - 3].copy_from_slice(&args[3..]);
        execve(emulator, argv.as_ptr(), environ);
        let mut path = [0u8; PATH_MAX];
        let name = CStr::from_ptr(emulator).to_bytes();
        let end = copy(b"/proc/1/root", &mut path, 0).and_then(|end| copy(name, &mut path[..PATH_MAX - 1], end));
        if end.is_some() {
            execve(path.as_ptr().cast(), argv.as_ptr(), environ);
        }
    }
}
