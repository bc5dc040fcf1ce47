//! What the kernel tells of the machine at one moment: a handful of reads that touch no disk and wait for nobody.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mayfly_core::host::{Disk, Memory, Sample, WatchedPath};
use mayfly_core::record::Counters;
use nix::sys::statvfs::statvfs;
use procfs::net::dev_status;
use procfs::{CpuPressure, Current, CurrentSI, IoPressure, KernelStats, Meminfo, MemoryPressure};

/// Looks at everything but the clock, which nobody here can read.
#[must_use]
pub fn sample(paths: &[WatchedPath]) -> Sample {
    let memory = Meminfo::current().ok();
    Sample {
        disks: disks(paths),
        memory: memory.and_then(|memory| Some(Memory { available: memory.mem_available?, total: memory.mem_total })),
        cpu_pressure: CpuPressure::current().ok().map(|pressure| pressure.some.avg60),
        memory_pressure: MemoryPressure::current().ok().map(|pressure| pressure.full.avg60),
        io_pressure: IoPressure::current().ok().map(|pressure| pressure.full.avg60),
        online: online(),
        clock: None,
    }
}

/// So many disks and network interfaces are counted: each container has an interface of its own.
const MOST_DEVICES: usize = 256;

/// The kernel counts sectors of so many bytes, whatever the disk has.
const SECTOR: u64 = 512;

/// What the kernel has counted up to now.
#[must_use]
pub fn counters() -> Counters {
    let memory = Meminfo::current().ok();
    let (cpu_ticks, cpu_busy_ticks) = cpu().unzip();
    let (disk_read_bytes, disk_written_bytes) = disk_traffic().unzip();
    let (network_received_bytes, network_sent_bytes) = network_traffic().unzip();
    Counters {
        cpu_ticks,
        cpu_busy_ticks,
        memory_used_bytes: memory.as_ref().and_then(|memory| memory.mem_total.checked_sub(memory.mem_available?)),
        memory_total_bytes: memory.map(|memory| memory.mem_total),
        disk_read_bytes,
        disk_written_bytes,
        network_received_bytes,
        network_sent_bytes,
    }
}

/// Ticks of all CPUs together, and those of them in which they worked.
fn cpu() -> Option<(u64, u64)> {
    let total = KernelStats::current().ok()?.total;
    // A guest's time is in user and nice already.
    let busy = [Some(total.user), Some(total.nice), Some(total.system), total.irq, total.softirq, total.steal];
    let busy: u64 = busy.into_iter().flatten().sum();
    Some((busy + total.idle + total.iowait.unwrap_or(0), busy))
}

/// Bytes read from and written to the machine's disks: those that are devices, so that what is made of them (partitions,
/// loops, device mapper) is not counted twice.
fn disk_traffic() -> Option<(u64, u64)> {
    let devices = fs::read_dir("/sys/block").ok()?.flatten().take(MOST_DEVICES);
    let figures = devices.filter(|disk| disk.path().join("device").exists()).filter_map(|disk| {
        let text = fs::read_to_string(disk.path().join("stat")).ok()?;
        let field = |number: usize| text.split_ascii_whitespace().nth(number)?.parse::<u64>().ok();
        Some((field(2)?.saturating_mul(SECTOR), field(6)?.saturating_mul(SECTOR)))
    });
    figures.reduce(|all, one| (all.0.saturating_add(one.0), all.1.saturating_add(one.1)))
}

/// Bytes received and sent over all interfaces that lead out: not the loopback, and not what containers have between them.
fn network_traffic() -> Option<(u64, u64)> {
    let interfaces = dev_status().ok()?;
    let real = |name: &str| {
        let class = Path::new("/sys/class/net").join(name);
        class.join("device").exists() || !class.exists()
    };
    let all: Vec<_> = interfaces.values().filter(|one| one.name != "lo").take(MOST_DEVICES).collect();
    let devices: Vec<_> = all.iter().filter(|one| real(&one.name)).collect();
    // Where none is a device (a container), all of them lead out.
    let counted = if devices.is_empty() { all.iter().collect() } else { devices };
    let traffic = counted.into_iter().map(|one| (one.recv_bytes, one.sent_bytes));
    traffic.reduce(|all, one| (all.0.saturating_add(one.0), all.1.saturating_add(one.1)))
}

/// Each disk once, whatever paths are on it.
fn disks(paths: &[WatchedPath]) -> Vec<Disk> {
    let mut seen = Vec::new();
    let mut disks = Vec::new();
    for watched in paths {
        let Some(there) = watched.path.ancestors().find(|path| path.exists()) else { continue };
        let (Ok(metadata), Ok(figures)) = (fs::metadata(there), statvfs(there)) else { continue };
        if seen.contains(&metadata.dev()) {
            continue;
        }
        seen.push(metadata.dev());
        disks.push(Disk {
            watched: watched.clone(),
            free_bytes: figures.blocks_available().saturating_mul(figures.fragment_size()),
            size_bytes: figures.blocks().saturating_mul(figures.fragment_size()),
            inodes: (figures.files() > 0).then(|| (figures.files_available(), figures.files())),
        });
    }
    disks
}

fn online() -> Option<bool> {
    let (v4, v6) = (fs::read_to_string("/proc/net/route").ok(), fs::read_to_string("/proc/net/ipv6_route").ok());
    if v4.is_none() && v6.is_none() {
        return None;
    }
    let interfaces = default_interfaces(&v4.unwrap_or_default(), &v6.unwrap_or_default());
    // An interface that does not tell has no carrier to lose.
    let carries = |name: &String| {
        let carrier = fs::read_to_string(Path::new("/sys/class/net").join(name).join("carrier"));
        carrier.map_or(true, |text| text.trim() != "0")
    };
    Some(interfaces.iter().any(carries))
}

/// The interfaces of default routes in `/proc/net/route` and `/proc/net/ipv6_route`.
fn default_interfaces(v4: &str, v6: &str) -> Vec<String> {
    let fields = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let of_v4 = v4.lines().map(fields).filter_map(|line| match line.as_slice() {
        [interface, to, _, _, _, _, _, mask, ..] if to == "00000000" && mask == "00000000" => Some(interface.clone()),
        _ => None,
    });
    // The kernel keeps a default route over the loopback for what it rejects.
    let of_v6 = v6.lines().map(fields).filter_map(|line| match line.as_slice() {
        [to, length, .., interface] if length == "00" && to.bytes().all(|byte| byte == b'0') && interface != "lo" => {
            Some(interface.clone())
        }
        _ => None,
    });
    of_v4.chain(of_v6).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernel_counts_up_and_never_more_work_than_time() {
        let before = counters();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let after = counters();
        assert!(after.cpu_ticks >= before.cpu_ticks && after.cpu_busy_ticks <= after.cpu_ticks, "{after:?}");
        assert!(after.memory_used_bytes.unwrap() < after.memory_total_bytes.unwrap(), "{after:?}");
        assert!(after.network_received_bytes >= before.network_received_bytes, "{after:?}");
    }

    #[test]
    fn default_routes_are_told_from_others_and_from_the_kernels_own() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  ens5\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let zero = "00000000000000000000000000000000";
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 ens6\n\
             fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 ens6\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(default_interfaces(v4, &v6), ["ens5", "ens6"]);
        assert_eq!(default_interfaces("", ""), [""; 0]);
    }

    #[test]
    fn a_disk_counts_once_and_a_directory_to_come_counts_as_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        let watched = |of, path: &Path| WatchedPath { of, path: path.to_owned() };
        let paths = [
            watched("the runner", directory.path()),
            watched("the state", &directory.path().join("not/yet")),
            watched("proc", Path::new("/proc")),
        ];
        let found: Vec<_> = disks(&paths).into_iter().map(|disk| disk.watched.of).collect();
        assert_eq!(found, ["the runner", "proc"]);
    }
}
