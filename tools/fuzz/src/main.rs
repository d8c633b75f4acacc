//! Feeds the engine mutated bytes: files, pages, messages of venues, requests of clients.
//!
//! `cargo run --release -p tickreel-fuzz -- [--seconds N] [--seed N] [--input N] [TARGET...]`. Each
//! target takes its seeds from `format-spec/vectors` or from the sample market, changes some bytes
//! and, where a checksum would stop them at the door, makes the checksums right again. A panic, an
//! abort, more than a second for one input or more than [`MEMORY_MAX`] bytes is a finding; it is
//! printed with the command that repeats it. There is no coverage guidance here; the mutations know
//! the formats instead.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]

mod checksums;
mod mutate;
mod targets;

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cap::Cap;
use mutate::Random;
use targets::{Seed, TARGETS, Target};

/// Bytes of memory above those at the start: an allocation beyond them ends the process.
const MEMORY_MAX: usize = 256 << 20;
/// How long one input may take.
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

struct Args {
    seconds: u64,
    seed: u64,
    /// Only this input, to repeat a finding.
    input: Option<u64>,
    /// Print the number of each input before it is tried, to find the one that aborts.
    numbers: bool,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    let args = match arguments() {
        Ok(args) => args,
        Err(text) => {
            eprintln!("tickreel-fuzz: {text}");
            return ExitCode::from(2);
        }
    };
    let each = Duration::from_secs(args.seconds) / u32::try_from(args.targets.len()).unwrap_or(1);
    let mut findings = 0;
    for target in &args.targets {
        findings += run(target, &args, each);
    }
    match findings {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn arguments() -> Result<Args, String> {
    let mut args = Args { seconds: 60, seed: 1, input: None, numbers: false, targets: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{word} takes a number, not {text:?}"))
        };
        match word.as_str() {
            "--seconds" => args.seconds = number()?,
            "--seed" => args.seed = number()?,
            "--input" => args.input = Some(number()?),
            "--numbers" => args.numbers = true,
            name => {
                let known = TARGETS.iter().find(|target| target.name == name);
                let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                let known = known.ok_or(format!("{name:?} is none of {}", names.join(", ")))?;
                args.targets.push(known);
            }
        }
    }
    if args.targets.is_empty() {
        args.targets = TARGETS.iter().collect();
    }
    Ok(args)
}

/// Tries inputs of one target for so long; how many were findings.
fn run(target: &Target, args: &Args, time: Duration) -> u64 {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{}: no seeds", target.name);
    MEMORY.set_limit(MEMORY.allocated() + MEMORY_MAX).unwrap_or(());
    let start = Instant::now();
    let (mut input, mut accepted, mut findings) = (args.input.unwrap_or(0), 0u64, 0);
    let mut slowest = Duration::ZERO;
    loop {
        if args.numbers {
            eprintln!("{} {input}", target.name);
        }
        let bytes = make(target, &seeds, args.seed, input);
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        let took = began.elapsed();
        slowest = slowest.max(took);
        let what = match result {
            Err(_) => Some("panic".to_owned()),
            Ok(_) if took > INPUT_TIME_MAX => Some(format!("{} ms", took.as_millis())),
            Ok(good) => {
                accepted += u64::from(good);
                None
            }
        };
        if let Some(what) = what {
            findings += 1;
            eprintln!(
                "FOUND {}: {what}; again: tickreel-fuzz --seed {} --input {input} {}",
                target.name, args.seed, target.name
            );
        }
        input += 1;
        if args.input.is_some() || start.elapsed() >= time || findings >= 10 {
            break;
        }
    }
    let tried = input - args.input.unwrap_or(0);
    println!(
        "{:<12} {tried:>9} inputs from {} seeds in {:.1} s, {accepted} read as valid, slowest \
         {} ms, {findings} findings",
        target.name,
        seeds.len(),
        start.elapsed().as_secs_f64(),
        slowest.as_millis()
    );
    MEMORY.set_limit(usize::MAX).unwrap_or(());
    findings
}

/// Input number `input`: a seed with some changes.
fn make(target: &Target, seeds: &[Seed], seed: u64, input: u64) -> Vec<u8> {
    let mut random = Random::new(seed, input);
    let chosen = &seeds[random.below(seeds.len())];
    let mut bytes = chosen.bytes.clone();
    let other = &seeds[random.below(seeds.len())].bytes;
    mutate::mutate(&mut bytes, other, &mut random, target.text);
    // Some inputs keep their wrong checksums.
    if random.below(8) != 0 {
        (target.fix)(&mut bytes);
    }
    chosen.head.iter().copied().chain(bytes).collect()
}
