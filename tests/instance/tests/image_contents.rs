//! What an image holds that matters to security: docs/security.md names it, and nothing else is there.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail there")]

use std::collections::BTreeSet;

use mayfly_instance::{Machine, job_until_let_go, seconds};

/// The section of the documentation.
fn documented() -> String {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let text = std::fs::read_to_string(format!("{package}/../../docs/security.md")).unwrap();
    let (_, rest) = text.split_once("## What is in the image\n").expect("docs/security.md has no such section");
    rest.split("\n## ").next().unwrap().to_owned()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_image_holds_what_security_md_says_and_nothing_else() {
    let page = documented();
    let mut machine = Machine::restored("debian-13");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");

    let bits = lines(&machine.guest("find / -xdev -type f -perm /6000 | sort"));
    let named =
        page.split("```text\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("no list of programs");
    assert_eq!(bits, lines(named), "programs that give rights away (left: on the machine, right: docs/security.md)");

    let who = "awk -F: '$7 !~ /(nologin|false|sync)$/ { print $1 }' /etc/passwd";
    assert_eq!(
        lines(&machine.guest(who)),
        lines("debian\nroot\nrunner"),
        "somebody may log in of whom the page says nothing"
    );
    let locked = machine.guest("awk -F: '$1 == \"runner\" { print substr($2, 1, 1) }' /etc/shadow");
    assert_eq!(locked.trim(), "!", "the job's user has a password");

    let sudo = "ls /etc/sudoers.d | grep -v README";
    assert_eq!(
        lines(&machine.guest(sudo)),
        lines("90-cloud-init-users\nmayfly"),
        "somebody may become root of whom the page says nothing"
    );

    let listening = "ss -H --listening --numeric --tcp --udp --processes | awk '{ print $1, $5, $7 }' | sort -u";
    for socket in lines(&machine.guest(listening)) {
        let mut words = socket.split(' ');
        let (protocol, address, who) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        let port = address.rsplit(':').next().unwrap_or_default();
        let known = if !address.starts_with("127.0.0.") && !address.starts_with("[::1]") {
            protocol == "tcp" && port == "22"
        } else {
            // containerd's port is another one at each start.
            page.contains(&format!("127.0.0.1:{port}`")) || who.contains("\"containerd\"")
        };
        assert!(known, "{socket} listens, and the page says nothing of it");
    }

    let sockets = machine.guest("find /run/mayfly /var/lib/mayfly -type s -printf '%p %m %u\\n'");
    for socket in lines(&sockets) {
        let mut words = socket.split(' ');
        let (path, mode, owner) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let told = page.contains(&format!("`{path}` (0{mode}"));
        assert!(told && owner == "root", "the page does not say it of {socket}");
    }
    assert_eq!(lines(&sockets).len(), 2, "{sockets}");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}
