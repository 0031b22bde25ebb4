use proptest::prelude::*;

use super::*;

/// A log as RocksDB writes it: records cut into fragments at block ends.
fn log_of(records: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut starts) = (Vec::new(), Vec::new());
    for record in records {
        let mut rest = &record[..];
        let mut first = true;
        loop {
            let left = BLOCK - out.len() % BLOCK;
            if left < HEADER {
                out.resize(out.len() + left, 0);
                continue;
            }
            if first {
                starts.push(out.len());
            }
            let take = rest.len().min(left - HEADER);
            let kind = match (first, take == rest.len()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, false) => MIDDLE,
                (false, true) => LAST,
            };
            let data = [&[kind], &rest[..take]].concat();
            out.extend_from_slice(&mask(crc_fast::crc32_iscsi(&data)).to_le_bytes());
            out.extend_from_slice(&u16::try_from(take).unwrap().to_le_bytes());
            out.extend_from_slice(&data);
            rest = &rest[take..];
            first = false;
            if rest.is_empty() {
                break;
            }
        }
    }
    (out, starts)
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    use halofs_runtime::Rng;
    let mut out = vec![0; len];
    halofs_runtime::rng::SeededRng::new(seed).fill(&mut out);
    out
}

fn sample() -> (Vec<u8>, Vec<usize>) {
    let sizes = [40, 300, 12, 25_000, 9_000, 700, 70_000, 90, 400, 33];
    log_of(
        &sizes
            .iter()
            .zip(0..)
            .map(|(n, i)| noise(i, *n))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn a_whole_log_is_clean() {
    assert_eq!(judge(&sample().0, true), Verdict::Clean);
    assert_eq!(judge(&[], true), Verdict::Clean);
}

#[test]
fn every_cut_is_a_torn_record_at_its_start() {
    let (bytes, starts) = sample();
    for len in (0..bytes.len()).step_by(37).chain(starts.iter().copied()) {
        let start = *starts.iter().rev().find(|s| **s <= len).unwrap();
        let verdict = judge(&bytes[..len], true);
        if start == len || verdict == Verdict::Clean {
            assert!(
                verdict == Verdict::Clean
                    && (start == len || starts.iter().any(|s| s - len < HEADER)),
                "{len}"
            );
        } else {
            assert_eq!(verdict, Verdict::Torn(start), "{len}");
        }
    }
}

#[test]
fn every_flipped_bit_is_rot() {
    let (mut bytes, _) = log_of(&[
        noise(1, 40),
        noise(2, 32_000),
        noise(3, 900),
        noise(4, 300),
        noise(5, 60),
    ]);
    let trailer = BLOCK - HEADER + 1..BLOCK;
    let mut seen = 0;
    for bit in (0..bytes.len() * 8).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
        let at = bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        if trailer.contains(&at) && judge(&bytes, true) == Verdict::Clean {
            bytes[at] ^= 1 << (bit % 8);
            continue;
        }
        assert!(
            matches!(judge(&bytes, true), Verdict::Rot(_)),
            "bit {bit} of {}",
            bytes.len() * 8
        );
        bytes[at] ^= 1 << (bit % 8);
        seen += 1;
    }
    assert!(seen > 50_000);
}

#[test]
fn sectors_that_were_never_written_are_torn_in_the_last_record_only() {
    let (bytes, starts) = sample();
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(bytes.len());
        let mut sector = start - start % SECTOR;
        while sector < end {
            let mut broken = bytes.clone();
            let (from, to) = (sector.max(*start), (sector + SECTOR).min(end));
            broken[from..to].fill(0);
            let verdict = judge(&broken, true);
            if to - from >= ZERO_RUN || from == *start && to - from >= HEADER {
                let torn = verdict == Verdict::Torn(*start);
                assert_eq!(
                    torn,
                    end == bytes.len(),
                    "record {n}, sector {sector}: {verdict:?}"
                );
            }
            sector += SECTOR;
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let _ = judge(&bytes, true);
        let _ = judge(&bytes, false);
    }

    #[test]
    fn logs_of_any_sizes_verify(sizes in proptest::collection::vec(12usize..80_000, 1..12), flip in any::<prop::sample::Index>()) {
        let (mut bytes, _) = log_of(&sizes.iter().zip(0..).map(|(n, i)| noise(i, *n)).collect::<Vec<_>>());
        prop_assert_eq!(judge(&bytes, true), Verdict::Clean);
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!matches!(judge(&bytes, true), Verdict::Torn(_)));
    }
}
