//! The kernel's FUSE protocol (include/uapi/linux/fuse.h, version 7.31), as far as one regular
//! file needs it: the file system's root is the file itself.
//!
//! In scope: answering the kernel in order, one request at a time. Out of scope: what the bytes
//! are ([`crate::recorded_disk`]), directories, permissions.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
};

/// What the kernel reads and writes.
pub(crate) trait Content {
    /// How long it is, in bytes.
    fn size(&self) -> u64;
    /// The bytes from `offset`; fewer at the end.
    fn read(&mut self, offset: u64, size: usize) -> io::Result<Vec<u8>>;
    /// Writes all of `data`.
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes durable what was written before.
    fn sync(&mut self) -> io::Result<()>;
}

/// Most bytes of one write, in bytes: 32 pages.
const MAX_WRITE_BYTES: u32 = 128 * 1024;
const HEADER: usize = 40;

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const NOT_THERE: i32 = 38; // ENOSYS: the kernel does without

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Numbers one after the other, as the kernel's structures are laid out.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

/// Answers until the file system is unmounted.
pub(crate) fn serve(kernel: &File, content: &mut dyn Content) -> io::Result<()> {
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let mut from = kernel;
        let got = match from.read(&mut buffer) {
            Ok(got) if got >= HEADER => got,
            // ENODEV: it was unmounted.
            Err(error) if error.raw_os_error() == Some(19) => return Ok(()),
            // ENOENT, EINTR, EAGAIN: the request was withdrawn.
            Err(error) if matches!(error.raw_os_error(), Some(2 | 4 | 11)) => continue,
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Err(error),
        };
        let request = &buffer[..got];
        let (opcode, unique) = (u32_at(request, 4), u64_at(request, 8));
        let Some(answer) = answer(opcode, &request[HEADER..], content) else {
            continue;
        };
        let (error, body) = match answer {
            Ok(Out(body)) => (0, body),
            Err(error) => (-error.raw_os_error().unwrap_or(5), Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).expect("a short answer");
        let mut reply = length.to_ne_bytes().to_vec();
        reply.extend(error.to_ne_bytes());
        reply.extend(unique.to_ne_bytes());
        reply.extend(body);
        let mut to = kernel;
        match to.write(&reply) {
            // ENOENT: nobody waits for it any more.
            Err(error) if error.raw_os_error() != Some(2) => return Err(error),
            _ => {}
        }
        if opcode == DESTROY {
            return Ok(());
        }
    }
}

/// `None` for what the kernel wants no answer to.
fn answer(opcode: u32, body: &[u8], content: &mut dyn Content) -> Option<io::Result<Out>> {
    let out = Out::default();
    Some(match opcode {
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        INIT => Ok(out
            .u32(7)
            .u32(31)
            .u32(u32_at(body, 8))
            .u32(1 << 5) // FUSE_BIG_WRITES
            .u16(16)
            .u16(12)
            .u32(MAX_WRITE_BYTES)
            .u32(1)
            .zeros(36)),
        GETATTR => Ok(attributes(content.size())),
        OPEN => Ok(out.u64(1).u32(0).u32(0)),
        READ => {
            let size = u32_at(body, 16) as usize;
            content.read(u64_at(body, 8), size).map(Out)
        }
        WRITE => {
            let size = u32_at(body, 16);
            let data = &body[40..40 + size as usize];
            let written = content.write(u64_at(body, 8), data);
            written.map(|()| out.u32(size).u32(0))
        }
        STATFS => Ok(out.zeros(40).u32(4096).u32(255).u32(4096).zeros(28)),
        FSYNC => content.sync().map(|()| out),
        FLUSH | RELEASE | DESTROY => Ok(out),
        _ => Err(io::Error::from_raw_os_error(NOT_THERE)),
    })
}

/// `fuse_attr_out` of a regular file that only root may open.
fn attributes(size: u64) -> Out {
    Out::default()
        .u64(3600)
        .zeros(8)
        .u64(1) // inode
        .u64(size)
        .u64(size / 512)
        .zeros(24 + 12) // times
        .u32(0o100_600)
        .u32(1)
        .zeros(12) // uid, gid, rdev
        .u32(4096)
        .zeros(4)
}
