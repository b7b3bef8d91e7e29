//! Loaded before the C library of a service that is tortured (`LD_PRELOAD`): its wall clock is off, and its disk is full
//! or cannot be written whenever the first byte of a shared file says so. The service itself is the one that is built.
//!
//! `crates/torture/src/fleet.rs` compiles this with `rustc`, for it is no part of any program of ours.
//!
//! - `TORTURE_CLOCK`: by how many seconds the wall clock is off.
//! - `TORTURE_DISK`: a file of which the first byte is `0` (all is well), `1` (the disk is full) or `2` (it is
//!   read-only). Only regular files are meant, and none that was open when the service began: its log goes on.
#![allow(non_upper_case_globals)]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const CLOCK_GETTIME: i64 = 228;
    pub const OPENAT: i64 = 257;
    pub const FSTAT: i64 = 5;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const CLOCK_GETTIME: i64 = 113;
    pub const OPENAT: i64 = 56;
    pub const FSTAT: i64 = 80;
}

const NEXT: *mut c_void = -1_isize as *mut c_void;
const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;
const ENOSPC: c_int = 28;
const EROFS: c_int = 30;
/// That it was not looked up yet.
const UNKNOWN: i64 = i64::MIN;

static OFFSET: AtomicI64 = AtomicI64::new(UNKNOWN);
static DISK: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static ALL_WELL: u8 = b'0';

fn variable(name: &CStr) -> Option<&'static CStr> {
    let value = unsafe { getenv(name.as_ptr()) };
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

fn offset() -> i64 {
    let known = OFFSET.load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    let text = variable(c"TORTURE_CLOCK").and_then(|text| text.to_str().ok());
    let seconds = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    OFFSET.store(seconds, Ordering::Relaxed);
    seconds
}

/// What the shared file says.
fn disk() -> u8 {
    let mut at = DISK.load(Ordering::Relaxed);
    if at.is_null() {
        at = map().unwrap_or(&raw const ALL_WELL as *mut u8);
        DISK.store(at, Ordering::Relaxed);
    }
    unsafe { at.read_volatile() }
}

fn map() -> Option<*mut u8> {
    let path = variable(c"TORTURE_DISK")?;
    let here: c_long = -100;
    let file = unsafe { syscall(number::OPENAT, here, path.as_ptr(), 0_i64, 0_i64) };
    if file < 0 {
        return None;
    }
    let (read, shared) = (1, 1);
    let at = unsafe { mmap(std::ptr::null_mut(), 4096, read, shared, file as c_int, 0) };
    (at as isize != -1).then_some(at.cast())
}

fn fails_with(error: c_int) -> c_int {
    unsafe { *__errno_location() = error };
    -1
}

/// Whether it is a file of the service, and neither a socket nor its log.
fn is_file(file: c_int) -> bool {
    let mut about = [0_u64; 32];
    let known = file > 2 && unsafe { syscall(number::FSTAT, i64::from(file), about.as_mut_ptr()) } == 0;
    // The mode stands at byte 24 on x86-64 and 16 on aarch64.
    let mode = if cfg!(target_arch = "x86_64") { about[3] } else { about[2] } as u32;
    known && mode & 0o170_000 == 0o100_000
}

/// What a write to a file ends with now, if not with what was asked for.
fn refused(file: c_int) -> Option<c_int> {
    match disk() {
        b'1' if is_file(file) => Some(ENOSPC),
        b'2' if is_file(file) => Some(EROFS),
        _ => None,
    }
}

macro_rules! next {
    ($name:expr, $kind:ty) => {{
        static FOUND: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
        let mut found = FOUND.load(Ordering::Relaxed);
        if found.is_null() {
            found = unsafe { dlsym(NEXT, $name.as_ptr()) };
            FOUND.store(found, Ordering::Relaxed);
        }
        unsafe { std::mem::transmute::<*mut c_void, $kind>(found) }
    }};
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let result = unsafe { syscall(number::CLOCK_GETTIME, i64::from(clock), time) } as c_int;
    if result == 0 && (clock == REALTIME || clock == REALTIME_COARSE) {
        unsafe { (*time).seconds += offset() };
    }
    result
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(file: c_int, bytes: *const c_void, length: usize) -> isize {
    if let Some(error) = refused(file) {
        return fails_with(error) as isize;
    }
    let real = next!(c"write", unsafe extern "C" fn(c_int, *const c_void, usize) -> isize);
    unsafe { real(file, bytes, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(file: c_int, bytes: *const c_void, length: usize, at: i64) -> isize {
    if let Some(error) = refused(file) {
        return fails_with(error) as isize;
    }
    let real = next!(c"pwrite64", unsafe extern "C" fn(c_int, *const c_void, usize, i64) -> isize);
    unsafe { real(file, bytes, length, at) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let (write, create) = (0o3, 0o100);
    if flags & (write | create) != 0 && disk() == b'2' && !is_a_device(path) {
        return fails_with(EROFS);
    }
    let real = next!(c"open64", unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int);
    unsafe { real(path, flags, mode) }
}

fn is_a_device(path: *const c_char) -> bool {
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    path.starts_with(b"/dev/") || path.starts_with(b"/proc/")
}

macro_rules! changes_names {
    ($($name:ident($($argument:ident: $kind:ty),+);)+) => {
        $(#[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $kind),+) -> c_int {
            match disk() {
                b'2' => return fails_with(EROFS),
                b'1' if matches!(stringify!($name), "mkdir" | "link" | "linkat") => return fails_with(ENOSPC),
                _ => {}
            }
            const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("a name"),
            };
            let real = next!(NAME, unsafe extern "C" fn($($kind),+) -> c_int);
            unsafe { real($($argument),+) }
        })+
    };
}

changes_names! {
    rename(from: *const c_char, to: *const c_char);
    mkdir(path: *const c_char, mode: c_int);
    link(from: *const c_char, to: *const c_char);
    linkat(from: c_int, a: *const c_char, to: c_int, b: *const c_char, flags: c_int);
    unlink(path: *const c_char);
}
