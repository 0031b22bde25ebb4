//! Where log lines go: access lines wait a moment in memory, so that a thousand of them cost one system call; every
//! other line takes with it what waits, so that the order stays and nothing of a failing process's last words is lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The target of access lines.
pub const ACCESS: &str = "access";

/// How long access lines wait.
const DELAY: Duration = Duration::from_millis(20);
/// Over this many waiting bytes whoever adds a line writes them.
const FULL: usize = 256 << 10;

type Out = Box<dyn Write + Send>;

struct Shared {
    waiting: Mutex<Vec<u8>>,
    some: Condvar,
    out: Mutex<(Out, Vec<u8>)>,
}

/// A log's end. Clones share it; its thread ends with the process.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

impl Lines {
    /// Starts the thread that writes to `out`.
    pub(super) fn start(out: Out) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            some: Condvar::new(),
            out: Mutex::new((out, Vec::new())),
        });
        let lines = Self(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                loop {
                    {
                        let mut waiting = shared.waiting.lock();
                        while waiting.is_empty() {
                            shared.some.wait(&mut waiting);
                        }
                    }
                    std::thread::sleep(DELAY);
                    shared.flush();
                }
            })?;
        Ok(lines)
    }

    fn line(&self, now: bool) -> Line {
        Line {
            lines: self.clone(),
            bytes: Vec::new(),
            now,
        }
    }

    pub(super) fn add(&self, line: &[u8], now: bool) {
        let (first, full) = {
            let mut waiting = self.0.waiting.lock();
            waiting.extend_from_slice(line);
            (waiting.len() == line.len(), waiting.len() > FULL)
        };
        if now || full {
            self.0.flush();
        } else if first {
            self.0.some.notify_one();
        }
    }
}

impl Shared {
    /// Writes what waits. `out` is held meanwhile, so that later lines stay behind.
    fn flush(&self) {
        let mut out = self.out.lock();
        let (out, lines) = &mut *out;
        // Two buffers take turns, so that neither grows from nothing every time.
        std::mem::swap(lines, &mut *self.waiting.lock());
        // A log that cannot be written has nobody left to tell.
        let _ = out.write_all(lines);
        lines.clear();
        if lines.capacity() > 2 * FULL {
            *lines = Vec::new();
        }
    }
}

/// Collects one line.
pub(super) struct Line {
    lines: Lines,
    bytes: Vec<u8>,
    now: bool,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && bytes.last() == Some(&b'\n') {
            // The formatter hands a line over whole.
            self.lines.add(bytes, self.now);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.lines.add(&self.bytes, self.now);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(true)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        self.line(meta.target() != ACCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>, Arc<Condvar>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            self.1.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn other_lines_take_waiting_ones_with_them() {
        let sink = Sink::default();
        let lines = Lines::start(Box::new(sink.clone())).unwrap();
        lines.add(b"access 1\n", false);
        lines.add(b"access 2\n", false);
        lines.add(b"error\n", true);
        assert_eq!(&*sink.0.lock(), b"access 1\naccess 2\nerror\n");
    }

    #[test]
    fn waiting_lines_are_written_soon() {
        let sink = Sink::default();
        let lines = Lines::start(Box::new(sink.clone())).unwrap();
        for round in 1..=3 {
            lines.add(b"access\n", false);
            let mut seen = sink.0.lock();
            while seen.len() < round * 7 {
                assert!(
                    !sink
                        .1
                        .wait_for(&mut seen, Duration::from_secs(10))
                        .timed_out()
                );
            }
        }
    }
}
