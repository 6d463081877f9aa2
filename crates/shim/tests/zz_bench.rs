//! temp
#![allow(dead_code, clippy::unwrap_used)]
#[path = "supervisor/harness.rs"]
mod harness;
use harness::*;
use std::time::*;
use spec::*;
#[test]
fn bench() {
    let daemon = Daemon::start();
    let mut c = daemon.spawn("cat"); c.args = vec!["/bin/busybox".into(), "dd".into(), "if=/dev/zero".into(), "of=/dev/null".into(), "bs=1".into(), "count=1".into()];
    drop(c);
    // throughput
    let mut c = daemon.spawn("cat /f /f /f /f /f /f /f /f /f /f");
    c.write_program("f", format!("{}\n", "x".repeat(99)).repeat(1000000).as_bytes());
    for a in ["yes","head"] { std::os::unix::fs::symlink("busybox", c.base.join("rootfs/bin").join(a)).unwrap(); }
    c.create(); c.start();
    let t = Instant::now();
    let e = c.wait_exit();
    println!("throughput {:.0} MB/s {e:?}", 1000.0/t.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_millis(400));
    c.delete();
    drop(c);
    let mut all = vec![];
    for _ in 0..50 { let mut c = daemon.spawn(""); c.args=vec!["/bin/true".into()]; 
      std::os::unix::fs::symlink("busybox", c.base.join("rootfs/bin/true")).unwrap(); all.push(c); }
    let mut v=vec![]; let mut parts=[Duration::ZERO;4];
    for c in &mut all { let t=Instant::now(); c.create(); let a=t.elapsed(); c.start(); let b=t.elapsed(); c.wait_exit(); let d=t.elapsed(); c.delete(); let e=t.elapsed(); v.push(e); parts[0]+=a; parts[1]+=b-a; parts[2]+=d-b; parts[3]+=e-d; }
    v.sort(); println!("median {:?}  mean parts create,start,exit,delete {:?}", v[25], parts.map(|p| p/50));
    let mut c = daemon.spawn("sleep 1000"); c.create(); c.start();
    let mut v=vec![];
    for _ in 0..50 { let t=Instant::now(); let s=c.exec("exit 0", None, false); c.wait_exec(&s); v.push(t.elapsed()); }
    v.sort(); println!("exec median {:?}", v[25]);
    std::thread::sleep(Duration::from_millis(500));
    let s = std::fs::read_to_string(format!("/proc/{}/smaps", c.supervisor)).unwrap();
    let mut head=String::new();
    for l in s.lines() { if l.contains('-') && !l.contains("kB") { head=l.to_owned(); } else if l.starts_with("Private_") && !l.contains(" 0 kB") { println!("{head} :: {l}"); } }
    c.signal(Signal::KILL); c.wait_exit(); c.delete();
}
