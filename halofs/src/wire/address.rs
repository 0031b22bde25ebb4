//! The address that other machines reach this one at, as the kernel's tables under `/proc/net` show it: no name is
//! resolved and no packet leaves. `fib_trie` lists the machine's own addresses, `route` says which of them lies in a
//! network of the interface that the default route takes; that one wins over bridges of containers.

use std::net::Ipv4Addr;

/// The first address of this machine that is not for itself alone.
pub(super) fn own() -> Option<Ipv4Addr> {
    let read = |table: &str| std::fs::read_to_string(format!("/proc/net/{table}"));
    choose(&read("fib_trie").ok()?, &read("route").unwrap_or_default())
}

fn choose(trie: &str, routes: &str) -> Option<Ipv4Addr> {
    let own = addresses(trie);
    let networks = networks(routes);
    let outward = own.iter().find(|a| {
        let bits = u32::from(**a);
        networks.iter().any(|(net, mask)| bits & mask == *net)
    });
    outward.or_else(|| own.first()).copied()
}

/// The leaves of the trie that are the machine's own.
fn addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in trie.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("|-- ") {
            leaf = text.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(a) = leaf
            && !(a.is_loopback() || a.is_link_local() || found.contains(&a))
        {
            found.push(a);
        }
    }
    found
}

/// The networks of the default route's interface, each with its mask.
fn networks(routes: &str) -> Vec<(u32, u32)> {
    // Interface, destination, gateway, flags, three counts, mask; addresses in hex, lowest byte first.
    let rows: Vec<(&str, u32, u32)> = routes
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let interface = words.next()?;
            let bits = |word: &str| u32::from_str_radix(word, 16).map(u32::swap_bytes).ok();
            Some((interface, bits(words.next()?)?, bits(words.nth(5)?)?))
        })
        .collect();
    let Some((outward, ..)) = rows.iter().find(|(_, net, mask)| *net == 0 && *mask == 0) else {
        return Vec::new();
    };
    rows.iter()
        .filter(|(interface, net, _)| interface == outward && *net != 0)
        .map(|(_, net, mask)| (*net, *mask))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8\n\
        |-- 127.0.0.1\n /32 host LOCAL\n |-- 172.17.0.1\n /32 host LOCAL\n |-- 192.168.5.0\n /24 link UNICAST\n\
        |-- 192.168.5.9\n /32 host LOCAL\n |-- 192.168.5.255\n /32 link BROADCAST\n";
    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
        eth0\t00000000\t0105A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0005A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn the_address_of_the_default_route_wins() {
        let at = |text: &str| Some(text.parse::<Ipv4Addr>().unwrap());
        assert_eq!(choose(TRIE, ROUTES), at("192.168.5.9"));
        assert_eq!(choose(TRIE, ""), at("172.17.0.1"));
        assert_eq!(choose("|-- 127.0.0.1\n/32 host LOCAL\n", ROUTES), None);
        assert_eq!(choose("", ""), None);
    }
}
