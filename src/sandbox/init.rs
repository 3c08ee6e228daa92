//! Process 1 of a command in the image: a program of its own, so that nothing of it leads out of
//! the image. It starts the command, collects orphans, and ends as the command does.
//!
//! Its root is an empty directory. Programs that ask whether they are in a chroot compare theirs
//! with that of process 1 (ischroot(1), systemctl), and are to find that they are.
//!
//! Compiled by build.rs as a static program. Usage: init PROGRAM ARG…

use std::ffi::{CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// The root of process 1, made by `rootfs`.
const EMPTY: &std::ffi::CStr = c"/run/westwork-gen/empty";
const PR_SET_PDEATHSIG: c_int = 1;
const SIGKILL: c_int = 9;
const EINTR: c_int = 4;
const SIGPIPE: c_int = 13;
const SIG_DFL: usize = 0;

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn fork() -> c_int;
    fn pipe(fds: *mut c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut u8, size: usize) -> isize;
    fn close(fd: c_int) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn execvp(file: *const c_char, argv: *const *const c_char) -> c_int;
    fn _exit(code: c_int) -> !;
}

fn main() {
    let args: Vec<CString> = std::env::args_os()
        .skip(1)
        .map(|arg| CString::new(OsString::into_vec(arg)).expect("arguments have no zero bytes"))
        .collect();
    let mut pointers: Vec<*const c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let mut fds = [0; 2];
    // SAFETY: plain system calls; this program has one thread, and every string ends with a zero
    // byte.
    unsafe {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if args.is_empty() || pipe(fds.as_mut_ptr()) != 0 {
            _exit(125);
        }
        let child = fork();
        if child == 0 {
            // Once process 1 has its root; then the command may ask for it.
            close(fds[1]);
            read(fds[0], [0].as_mut_ptr(), 1);
            close(fds[0]);
            // Rust's runtime ignores it, and what is ignored stays so.
            signal(SIGPIPE, SIG_DFL);
            execvp(pointers[0], pointers.as_ptr());
            eprintln!(
                "westwork-gen: starting {}: {}",
                args[0].to_string_lossy(),
                std::io::Error::last_os_error()
            );
            _exit(127);
        }
        if child < 0 || chroot(EMPTY.as_ptr()) != 0 || chdir(c"/".as_ptr()) != 0 {
            _exit(125);
        }
        close(fds[0]);
        close(fds[1]);
        loop {
            let mut status = 0;
            let pid = waitpid(-1, &raw mut status, 0);
            if pid == child {
                let signal = status & 0x7f;
                _exit(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal });
            }
            if pid < 0 && std::io::Error::last_os_error().raw_os_error() != Some(EINTR) {
                _exit(125);
            }
        }
    }
}
