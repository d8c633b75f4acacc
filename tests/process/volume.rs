//! A file system of its own, whose power can be cut.
//!
//! An ext4 in a file, mounted by a loop device. The power is cut by the kernel's `FS_IOC_SHUTDOWN`:
//! from then on nothing reaches the file any more, and what was written but not synced is lost.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tickreel::store::Store;

/// Bytes of the file system.
const BYTES: u64 = 256 << 20;
/// Mount options, in turn.
const OPTIONS: [&str; 3] = ["loop", "loop,data=writeback,nodelalloc", "loop,commit=1"];
/// Cuts the power as often as it is told a flag. Clears everything away in the end, also when the
/// test was killed.
const CUTTER: &str = "
import fcntl, os, shutil, signal, struct, subprocess, sys
FS_IOC_SHUTDOWN = 0x8004587D
folder = sys.argv[1]
mounted = os.path.join(folder, 'mounted')
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for flag in sys.stdin:
    of_mounted = os.open(mounted, os.O_RDONLY)
    try:
        fcntl.ioctl(of_mounted, FS_IOC_SHUTDOWN, struct.pack('I', int(flag)))
        print('cut', flush=True)
    except OSError as error:
        print(error, flush=True)
    os.close(of_mounted)
subprocess.call(['umount', '--lazy', '--quiet', mounted])
shutil.rmtree(folder, ignore_errors=True)
";

/// What is lost at a power cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Everything that was not synced.
    All = 2,
    /// Contents only: names and lengths are flushed at the cut.
    Contents = 1,
}

/// A file system in a file. Unmounted and removed when dropped.
pub struct Volume {
    folder: TempDir,
    cutter: Child,
    mounts: usize,
    stores: usize,
}

impl Volume {
    /// Makes a file system and mounts it.
    ///
    /// # Errors
    /// Why this machine cannot.
    pub fn new() -> Result<Self, String> {
        if fs::metadata("/proc/self").map_or(1, |of_process| of_process.uid()) != 0 {
            return Err("only root may mount".to_owned());
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("mounted")).unwrap();
        let image = folder.path().join("image");
        File::create(&image).and_then(|file| file.set_len(BYTES)).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        let cutter = Command::new("python3")
            .args(["-c", CUTTER])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let mut volume = Self { folder, cutter, mounts: 0, stores: 0 };
        volume.mount()?;
        volume.cut(Cut::All)?;
        volume.remount();
        Ok(volume)
    }

    /// The folder of the file system.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// An empty store; those before are removed.
    pub fn new_store(&mut self) -> PathBuf {
        drop(fs::remove_dir_all(self.path().join(format!("store-{}", self.stores))));
        self.stores += 1;
        let store = self.path().join(format!("store-{}", self.stores));
        drop(Store::open_or_create(&store).unwrap());
        store
    }

    /// A file outside of it.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mount(&mut self) -> Result<(), String> {
        let options = OPTIONS[self.mounts % OPTIONS.len()];
        let image = self.folder.path().join("image");
        run(Command::new("mount").args(["-o", options]).arg(image).arg(self.path()))?;
        self.mounts += 1;
        Ok(())
    }

    /// Cuts the power.
    ///
    /// # Errors
    /// Why it is still there.
    pub fn cut(&mut self, cut: Cut) -> Result<(), String> {
        let order = format!("{}\n", cut as u32);
        let (Some(orders), Some(answers)) = (&mut self.cutter.stdin, &mut self.cutter.stdout)
        else {
            return Err("nobody cuts the power".to_owned());
        };
        let mut answer = String::new();
        orders
            .write_all(order.as_bytes())
            .and_then(|()| BufReader::new(answers).read_line(&mut answer))
            .map_err(|error| error.to_string())?;
        match answer.trim_end() {
            "cut" => Ok(()),
            refused => Err(format!("FS_IOC_SHUTDOWN: {refused}")),
        }
    }

    /// Brings the power back.
    pub fn remount(&mut self) {
        let unmount = || run(Command::new("umount").arg(self.path()));
        let unmounted = (0..50).any(|_| {
            // A process that is just being started may still hold it.
            unmount().inspect_err(|_| thread::sleep(Duration::from_millis(20))).is_ok()
        });
        assert!(unmounted, "{:?}", unmount());
        self.mount().unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.cutter.stdin.take());
        drop(self.cutter.wait());
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
