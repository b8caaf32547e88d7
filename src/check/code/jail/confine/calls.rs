//! Which system calls a locked-down Python may make: all but those listed here.
//!
//! A list of what is allowed would depend on the version of Python, of the C library, and on
//! which modules an answer imports; a call forgotten there fails a right answer. A list of what
//! is denied has to be complete instead. It is, since every call that Linux got from 5.1 on is
//! denied without being listed: programs take it for an older kernel. Those before are all either
//! below or harmless to who has no files, no sockets, and no other processes.

use std::collections::BTreeMap;
use std::ffi::CStr;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

/// First number of the calls that Linux got from 5.1 on, which all architectures share; the x32
/// calls of x86-64 are beyond it too.
const FIRST_SHARED: u32 = 424;

/// Denied whatever the arguments.
#[rustfmt::skip]
const DENIED: &[c_long] = &[
    // New processes and threads, whose number no limit holds down for root.
    libc::SYS_clone, libc::SYS_execveat,
    // Other processes.
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo, libc::SYS_ptrace, libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev, libc::SYS_kcmp, libc::SYS_migrate_pages, libc::SYS_move_pages,
    libc::SYS_setpriority, libc::SYS_ioprio_set, libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr, libc::SYS_sched_setparam, libc::SYS_sched_setscheduler,
    libc::SYS_setpgid, libc::SYS_setsid,
    // Network. A pair of connected sockets, which `asyncio` makes, is ruled below.
    libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept,
    libc::SYS_accept4,
    // What Landlock leaves of files.
    libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat,
    libc::SYS_utimensat, libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr,
    libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr, libc::SYS_getxattr,
    libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr,
    libc::SYS_flistxattr, libc::SYS_truncate,
    libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at, libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch, libc::SYS_fanotify_init, libc::SYS_fanotify_mark,
    libc::SYS_lookup_dcookie, libc::SYS_quotactl, libc::SYS_flock, libc::SYS_sync,
    libc::SYS_syncfs, libc::SYS_io_setup, libc::SYS_io_submit,
    // Memory that no limit counts, or that outlives the process.
    libc::SYS_memfd_create, libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl,
    libc::SYS_semget, libc::SYS_semctl, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_msgget,
    libc::SYS_msgctl, libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_mq_open, libc::SYS_mq_unlink,
    libc::SYS_vmsplice, libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // The system. Most of it is root's, who may be who runs this.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot,
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_bpf, libc::SYS_perf_event_open,
    libc::SYS_userfaultfd, libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_finit_module,
    libc::SYS_delete_module, libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff,
    libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_acct, libc::SYS_syslog,
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex,
    libc::SYS_personality, libc::SYS_vhangup, libc::SYS_nfsservctl,
];

/// Older forms of the same that only x86-64 still has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const DENIED_HERE: &[c_long] = &[
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_creat, libc::SYS_chmod, libc::SYS_chown,
    libc::SYS_lchown, libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat,
    libc::SYS_inotify_init, libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm,
    libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS__sysctl,
];

/// `kexec_file_load`, which `libc` does not name for every C library.
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[c_long] = &[294];

/// What may be asked of an open file: whether it is a terminal (`TCGETS`), how wide
/// (`TIOCGWINSZ`), what waits in it (`FIONREAD`), and whether it blocks (`FIONBIO`) and is handed
/// on (`FIOCLEX`, `FIONCLEX`). In numbers, as `libc` has them in a type for each C library.
const ASKED: [u64; 6] = [0x5401, 0x5413, 0x541b, 0x5421, 0x5451, 0x5450];

/// `F_SETOWN`, `F_SETSIG`, `F_SETOWN_EX`, not all of which `libc` names: who gets which signal when
/// a file has something to read.
const OWNED: [u64; 3] = [8, 10, 15];

/// Filters to be installed in this order. They leave one program to be executed: that at `path`,
/// told by its address in this process. Whoever lays another there later gains nothing, since
/// Landlock holds for that too.
pub(super) fn filters(path: &CStr) -> Result<[BpfProgram; 2], BackendError> {
    let filter = SeccompFilter::new(
        rules(path)?,
        SeccompAction::Allow,
        SeccompAction::Errno(errno(libc::EPERM)),
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok([no_newer(), filter.try_into()?])
}

fn rules(path: &CStr) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    // No rules of a call: whatever its arguments.
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED
        .iter()
        .chain(DENIED_HERE)
        .map(|&call| (call, Vec::new()))
        .collect();
    let address = path.as_ptr().addr() as u64;
    let executed = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, address);
    rules.insert(libc::SYS_execve, any([executed])?);
    // The signal by which it ends with whoever started it.
    let ends = int(0, SeccompCmpOp::Eq, libc::PR_SET_PDEATHSIG as u64);
    rules.insert(libc::SYS_prctl, any([ends])?);
    // The limits of other processes.
    rules.insert(libc::SYS_prlimit64, any([int(0, SeccompCmpOp::Ne, 0)])?);
    let owned = OWNED.map(|set| int(1, SeccompCmpOp::Eq, set));
    rules.insert(libc::SYS_fcntl, any(owned)?);
    let asked = ASKED.map(|ask| int(1, SeccompCmpOp::Ne, ask));
    let asked = SeccompRule::new(asked.into_iter().collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_ioctl, vec![asked]);
    // Landlock denies to write too, but its first version not to empty a file.
    let written = |argument| {
        any(
            [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC].map(|flag| {
                let flag = flag as u64;
                int(argument, SeccompCmpOp::MaskedEq(flag), flag)
            }),
        )
    };
    rules.insert(libc::SYS_openat, written(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, written(1)?);
    // One of datagrams could send them to any other socket of this system.
    let kind = |kind: c_int| int(1, SeccompCmpOp::MaskedEq(0xf), kind as u64);
    rules.insert(
        libc::SYS_socketpair,
        any([
            int(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64),
            kind(libc::SOCK_DGRAM),
            kind(libc::SOCK_RAW),
            kind(libc::SOCK_SEQPACKET),
        ])?,
    );
    Ok(rules)
}

/// One rule a condition: any of them denies the call.
fn any<const N: usize>(
    conditions: [Result<SeccompCondition, BackendError>; N],
) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |condition: Result<_, _>| SeccompRule::new(vec![condition?]);
    conditions.into_iter().map(rule).collect()
}

/// A condition on an `int` argument.
fn int(
    argument: u8,
    comparison: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)
}

fn errno(number: c_int) -> u32 {
    number.unsigned_abs()
}

/// Answers every call from [`FIRST_SHARED`] on as a kernel that does not have it.
fn no_newer() -> BpfProgram {
    let statement = |code: u32, k: u32, jt: u8| sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    vec![
        // The call's number is what the kernel's data begin with.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, FIRST_SHARED, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | errno(libc::ENOSYS),
            0,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_calls_are_listed_once_and_none_that_is_denied_by_its_number() {
        let all: Vec<i64> = DENIED.iter().chain(DENIED_HERE).copied().collect();
        let rules = rules(c"/a/python3").unwrap();
        assert!(rules.keys().all(|&call| call < i64::from(FIRST_SHARED)));
        let whatever = rules.values().filter(|rules| rules.is_empty()).count();
        assert_eq!(whatever, all.len());
    }

    #[test]
    fn only_the_path_at_its_address_is_executed() {
        let (one, other) = (c"/a/python3".to_owned(), c"/a/python3".to_owned());
        assert_eq!(rules(&one).unwrap(), rules(&one).unwrap());
        assert_ne!(rules(&one).unwrap(), rules(&other).unwrap());
    }

    #[test]
    fn filters_fit_into_the_kernel() {
        let filters = filters(c"/a/python3").unwrap();
        assert_eq!(filters[0].len(), 4);
        assert!(filters[1].len() < 4096, "{}", filters[1].len());
    }
}
