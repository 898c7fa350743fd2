//! Hosts on a network of their own: one network namespace each, on one switch whose ports can be
//! cut, made one-way, lossy or slow.

use crate::{
    machine::{run, run_last},
    surroundings::Surroundings,
};
use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU32, Ordering},
};

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// A switch with hosts. Dropping it removes all of it.
#[derive(Debug)]
pub struct Network {
    name: String,
    hosts: BTreeMap<String, u8>,
}

/// What the switch does with packets of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing reaches the host, and nothing that it sends leaves the switch. Nobody is told.
    Silence,
    /// What it sends is lost; what is sent to it arrives.
    Mute,
    /// What is sent to it is lost; what it sends arrives.
    Deaf,
    /// Of a hundred packets either way so many are lost.
    Loss(u8),
}

impl Network {
    /// A switch with these hosts.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn lay(hosts: &[&str]) -> anyhow::Result<Self> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = format!("psr{}x{number}", std::process::id());
        let mut network = Self {
            name,
            hosts: BTreeMap::new(),
        };
        let switch = network.switch();
        // From here on Drop takes down what there is, however far this came.
        run(&["ip", "netns", "add", &switch])?;
        run(&[
            "ip",
            "-n",
            &switch,
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "stp_state",
            "0",
        ])?;
        run(&["ip", "-n", &switch, "link", "set", "br0", "up"])?;
        network.on_switch(
            "add table bridge faults; \
             add chain bridge faults forward { type filter hook forward priority 0; }",
        )?;
        for (host, number) in hosts.iter().zip(1..) {
            network.plug(host, number)?;
        }
        Ok(network)
    }

    fn plug(&mut self, host: &str, number: u8) -> anyhow::Result<()> {
        let (switch, space) = (self.switch(), format!("{}-{number}", self.name));
        run(&["ip", "netns", "add", &space])?;
        self.hosts.insert(host.to_owned(), number);
        let port = port(number);
        run(&[
            "ip", "link", "add", &port, "netns", &switch, "type", "veth", "peer", "name", "eth0",
            "netns", &space,
        ])?;
        run(&[
            "ip", "-n", &switch, "link", "set", &port, "master", "br0", "up",
        ])?;
        run(&["ip", "-n", &space, "link", "set", "lo", "up"])?;
        let address = format!("{}/24", self.address(host)?);
        run(&["ip", "-n", &space, "addr", "add", &address, "dev", "eth0"])?;
        run(&["ip", "-n", &space, "link", "set", "eth0", "up"]).map(drop)
    }

    fn switch(&self) -> String {
        format!("{}-0", self.name)
    }

    fn number(&self, host: &str) -> anyhow::Result<u8> {
        self.hosts.get(host).copied().context("no such host")
    }

    /// The address of a host.
    ///
    /// # Errors
    /// There is no such host.
    pub fn address(&self, host: &str) -> anyhow::Result<IpAddr> {
        Ok(Ipv4Addr::new(10, 77, 0, self.number(host)?).into())
    }

    /// What a process on this host runs in.
    ///
    /// # Errors
    /// There is no such host.
    pub fn on(&self, host: &str) -> anyhow::Result<Surroundings> {
        let space = format!("{}-{}", self.name, self.number(host)?);
        Ok(Surroundings::default().behind(&["nsenter", &inside(&space)]))
    }

    fn on_switch(&self, rules: &str) -> anyhow::Result<()> {
        run(&["nsenter", &inside(&self.switch()), "nft", rules]).map(drop)
    }

    /// Pulls the cable of a host: its port on the switch goes down.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn unplug(&self, host: &str) -> anyhow::Result<()> {
        let port = port(self.number(host)?);
        run(&["ip", "-n", &self.switch(), "link", "set", &port, "down"]).map(drop)
    }

    /// Adds a fault on a host's port.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn fault(&self, host: &str, fault: Fault) -> anyhow::Result<()> {
        let port = port(self.number(host)?);
        let from = format!("add rule bridge faults forward iifname \"{port}\"");
        let to = format!("add rule bridge faults forward oifname \"{port}\"");
        let rules = match fault {
            Fault::Silence => format!("{from} drop; {to} drop"),
            Fault::Mute => format!("{from} drop"),
            Fault::Deaf => format!("{to} drop"),
            Fault::Loss(percent) => {
                let lost = format!("numgen random mod 100 < {percent} drop");
                format!("{from} {lost}; {to} {lost}")
            }
        };
        self.on_switch(&rules)
    }

    /// Lets a host's port pass no more than this, in kbit/s.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn slow(&self, host: &str, kbit: u32) -> anyhow::Result<()> {
        let port = port(self.number(host)?);
        let rate = format!("{kbit}kbit");
        run(&[
            "tc",
            "-n",
            &self.switch(),
            "qdisc",
            "replace",
            "dev",
            &port,
            "root",
            "tbf",
            "rate",
            &rate,
            "burst",
            "16kb",
            "latency",
            "2s",
        ])
        .map(drop)
    }

    /// Takes all faults away and plugs every cable in.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.on_switch("flush chain bridge faults forward")?;
        for number in self.hosts.values() {
            let port = port(*number);
            run(&["ip", "-n", &self.switch(), "link", "set", &port, "up"])?;
        }
        Ok(())
    }
}

/// Not `ip netns exec`: that gives the process a copy of all mounts, and what another test has
/// mounted would stay busy for as long as the process lives.
fn inside(space: &str) -> String {
    format!("--net=/run/netns/{space}")
}

fn port(number: u8) -> String {
    format!("port{number}")
}

impl Drop for Network {
    fn drop(&mut self) {
        let hosts = self.hosts.values().map(|n| format!("{}-{n}", self.name));
        for space in hosts.chain([self.switch()]) {
            run_last(&["ip", "netns", "del", &space]);
        }
    }
}
