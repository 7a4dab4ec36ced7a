//! Every kernel against the reference, with every instruction set of this machine, on random and
//! extreme inputs.

use super::activations::Activations;
use super::arena::Arena;
use super::attention::{Query, ROWS, Scratch, attend};
use super::cache::{self, Cache, RowsRef};
use super::elementwise::{Quantize, RmsNorm, Rope, SwiGlu};
use super::linear::{Accumulate, Finish, TILE};
use super::pack::{PANEL, Packed, matrix_lines, pack};
use super::simd::Isa;
use super::team::Team;
use crate::decoder::{Bytes, Linear, Matrix};
use crate::reference::{linear, max, mix, probs, quantize, rms_norm, rope, scores, sum, swiglu};
use crate::{Format, Heads};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Every magnitude is as likely as every other, and the ends of the range are common. Never
    /// −2^31, which no finalizer yields.
    fn fx(&mut self, n: usize) -> Vec<i32> {
        let one = |rng: &mut Self| match rng.below(12) {
            0 => i32::MAX,
            1 => -i32::MAX,
            2 => 0,
            _ => ((rng.next() as i32) >> rng.below(32)).max(-i32::MAX),
        };
        (0..n).map(|_| one(self)).collect()
    }

    /// Within ±limit, the ends being common.
    fn quantized(&mut self, n: usize, limit: i16) -> Vec<i16> {
        let one = |rng: &mut Self| match rng.below(6) {
            0 => limit,
            1 => -limit,
            2 => 0,
            _ => (rng.below(2 * limit as u64 + 1) as i32 - i32::from(limit)) as i16,
        };
        (0..n).map(|_| one(self)).collect()
    }

    fn shifts(&mut self, n: usize, top: u64) -> Vec<u8> {
        (0..n).map(|_| self.below(top + 1) as u8).collect()
    }

    /// Rows that the importer would accept, with scales of every exponent and sign.
    fn matrix(&mut self, format: Format, rows: usize, cols: usize) -> Matrix {
        let row_bytes = format.row_bytes(cols);
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < rows * row_bytes {
            let mut row: Vec<u8> = (0..row_bytes).map(|_| self.next() as u8).collect();
            if self.below(8) == 0 {
                row.fill([0, 0xff, 0x80, 0x7f][self.below(4) as usize]);
            }
            // Wide rows only fit with smaller scales.
            let top = 22 - u64::from((cols / 32).ilog2());
            for block in row.chunks_exact_mut(format.block_bytes()) {
                for scale in block.as_chunks_mut::<2>().0.iter_mut().take(2) {
                    let bits = match self.below(4) {
                        0 => self.next() as u16 & 0x83ff,
                        1 => self.next() as u16 & 0x8000 | ((top - 1) as u16) << 10 | 0x3ff,
                        _ => self.next() as u16 & 0x83ff | (self.below(top) as u16) << 10,
                    };
                    *scale = bits.to_le_bytes();
                }
            }
            if crate::format::row_bound(format, &row).is_some_and(|bound| bound < 1 << 63) {
                bytes.extend(row);
            }
        }
        Matrix { format, rows, cols, bytes: Bytes::from_vec(bytes) }
    }
}

fn saturated(x: &[i32]) -> u64 {
    x.iter().filter(|y| y.unsigned_abs() >= i32::MAX.unsigned_abs()).count() as u64
}

const LENGTHS: [usize; 12] = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 577];

#[test]
fn norms() {
    let rng = &mut Rng(1);
    for isa in Isa::all() {
        for n in LENGTHS {
            for _ in 0..40 {
                let eps = [1, 168, u32::MAX][rng.below(3) as usize];
                let exponent = rng.below(80) as i32 - 20;
                let shift = rng.below(31);
                let x: Vec<i32> = rng.fx(n).iter().map(|x| x >> shift).collect();
                let w = rng.fx(n);
                let mut expected = vec![0; n];
                rms_norm::forward(&x, &w, eps, exponent, &mut expected);
                let mut out = vec![0; n];
                let count = isa.run(RmsNorm { x: &x, w: &w, eps, exponent, out: &mut out });
                assert_eq!(out, expected, "{}", isa.name());
                assert_eq!(count, saturated(&expected), "{}", isa.name());
            }
        }
    }
}

#[test]
fn quantized_rows() {
    let rng = &mut Rng(2);
    for isa in Isa::all() {
        for (i, n) in LENGTHS.into_iter().cycle().take(400).enumerate() {
            let bits = [11, 12, 15][i % 3];
            let shift = rng.below(31);
            let x: Vec<i32> = rng.fx(n).iter().map(|x| x >> shift).collect();
            let (mut expected, mut shifts) = (vec![0; n], [0]);
            quantize::forward(&x, 1, bits, &mut expected, &mut shifts);
            let mut out = vec![0; n];
            let shift = isa.run(Quantize { x: &x, bits, out: &mut out });
            assert_eq!((out, shift), (expected, shifts[0]), "{}", isa.name());
        }
    }
}

#[test]
fn rotations() {
    let rng = &mut Rng(3);
    for isa in Isa::all() {
        for (heads, head_len, rotated) in
            [(1, 2, 2), (3, 64, 64), (2, 80, 64), (2, 34, 0), (5, 6, 4)]
        {
            for _ in 0..20 {
                let x = rng.fx(heads * head_len);
                let row: Vec<i32> = rng
                    .fx(rotated)
                    .iter()
                    .map(|x| x.clamp(&-(1 << 30), &(1 << 30)))
                    .copied()
                    .collect();
                let mut expected = vec![0; x.len()];
                rope::forward(&x, head_len, rotated, &row, &mut expected);
                let mut out = x;
                let count = isa.run(Rope { x: &mut out, head_len, row: &row });
                assert_eq!(out, expected, "{}", isa.name());
                assert_eq!(count, saturated(&expected), "{}", isa.name());
            }
        }
    }
}

#[test]
fn gates() {
    let rng = &mut Rng(4);
    for isa in Isa::all() {
        let mut gates = rng.fx(1 << 16);
        // All exponents of the logistic function, and the ends of its steps.
        gates.extend((-100_000..100_000).step_by(3));
        let step = (1i64 << 44) / 6_196_328_019;
        gates.extend(
            (0..40)
                .flat_map(|n| [n * step - 1, n * step, n * step + 1, -n * step])
                .map(|x| x as i32),
        );
        let up = rng.fx(gates.len());
        let mut expected = vec![0; gates.len()];
        swiglu::forward(&gates, &up, &mut expected);
        let mut out = vec![0; gates.len()];
        let count = isa.run(SwiGlu { gate: &gates, up: &up, out: &mut out });
        assert!(out == expected, "{}", isa.name());
        assert_eq!(count, saturated(&expected), "{}", isa.name());
        for n in LENGTHS {
            isa.run(SwiGlu { gate: &gates[..n], up: &up[..n], out: &mut out[..n] });
            assert_eq!(out[..n], expected[..n], "{}", isa.name());
        }
    }
}

/// The logistic function shows every bit of its quotient when `up` is 1 and the gate is large.
#[test]
fn quotients() {
    let rng = &mut Rng(5);
    let gates: Vec<i32> =
        (0..1 << 18).map(|_| (rng.next() as i32) >> (12 + rng.below(6))).collect();
    let up = vec![i32::MAX; gates.len()];
    let mut expected = vec![0; gates.len()];
    swiglu::forward(&gates, &up, &mut expected);
    for isa in Isa::all() {
        let mut out = vec![0; gates.len()];
        isa.run(SwiGlu { gate: &gates, up: &up, out: &mut out });
        assert!(out == expected, "{}", isa.name());
    }
}

#[test]
fn linears() {
    let rng = &mut Rng(6);
    let shapes = [(1, 32), (31, 64), (32, 96), (33, 544), (65, 1056), (40, 2048)];
    for (i, (rows, cols)) in shapes.into_iter().cycle().take(18).enumerate() {
        let format = [Format::Q8_0, Format::Q4_0, Format::Q4_1][i / 6];
        let weights = rng.matrix(format, rows, cols);
        let bias = (i % 2 == 0).then(|| rng.fx(rows).into());
        let linear = Linear { weights, bias };
        let mut arena = Arena::new("", matrix_lines(&linear.weights)).unwrap();
        pack(&linear.weights, arena.lines_mut(), &mut Team::new(2).unwrap());
        let packed = Packed::new(&linear, arena.into(), 0);
        for n in [1, 2, 3, 4, 5, 6, 7, 8, 11] {
            compare_linear(rng, &linear, &packed, n);
        }
    }
}

/// `n` rows of activations times a matrix, with residuals.
fn compare_linear(rng: &mut Rng, linear: &Linear, packed: &Packed, n: usize) {
    let Matrix { format, rows, cols, .. } = linear.weights;
    let inputs: Vec<Vec<i32>> = (0..n)
        .map(|_| {
            let shift = rng.below(31);
            let extreme = rng.quantized(cols, i16::MAX);
            match rng.below(3) {
                0 => vec![0; cols],
                1 => extreme.iter().map(|&x| i32::from(x)).collect(),
                _ => rng.fx(cols).iter().map(|x| x >> shift).collect(),
            }
        })
        .collect();
    let residual: Vec<Vec<i32>> = (0..n).map(|_| rng.fx(rows)).collect();
    for isa in Isa::all() {
        let mut x = Activations::new(n, cols);
        let writer = x.writer();
        for (row, input) in inputs.iter().enumerate() {
            // SAFETY: nobody else writes.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            unsafe {
                writer.write(isa, row, input);
            }
        }
        let all: Vec<usize> = (0..n).collect();
        for group in x.by_group(0..n) {
            for panel in 0..packed.panels() {
                let columns = panel * PANEL..rows.min((panel + 1) * PANEL);
                let (mut sums, mut values) = ([[0; PANEL]; TILE], [[0; PANEL]; TILE]);
                for (value, &row) in values.iter_mut().zip(&all[group.clone()]) {
                    value[..columns.len()].copy_from_slice(&residual[row][columns.clone()]);
                }
                let rows = group.clone();
                isa.run(Accumulate {
                    matrix: packed,
                    panel,
                    x: &x,
                    rows,
                    fetch: true,
                    out: &mut sums,
                });
                let shifts = &x.shifts()[group.clone()];
                let bias = packed.bias(panel);
                let count =
                    isa.run(Finish { sums: &sums, shifts, bias, residual: true, out: &mut values });
                let mut expected_count = 0;
                for (value, &row) in values.iter().zip(&all[group.clone()]) {
                    let (mut q, mut shift) = (vec![0; cols], [0]);
                    quantize::forward(&inputs[row], 1, 15, &mut q, &mut shift);
                    let mut expected = vec![0; columns.len()];
                    linear::forward(
                        format,
                        linear.weights.rows(columns.clone()),
                        &q,
                        shift[0],
                        linear.bias.as_ref().map(|bias| &bias[columns.clone()]),
                        Some(&residual[row][columns.clone()]),
                        &mut expected,
                    );
                    assert_eq!(value[..columns.len()], expected, "{} {format:?}", isa.name());
                    expected_count += saturated(&expected);
                }
                assert_eq!(count, expected_count, "{} {format:?}", isa.name());
            }
        }
    }
}

/// Rows of K and V, by position and head.
struct Carried {
    k: Vec<i16>,
    k_shifts: Vec<u8>,
    v: Vec<i16>,
    v_shifts: Vec<u8>,
}

/// One position's attention over all of `carried`.
fn compare_attention(shape: Heads, q: &[i16], q_shifts: &[u8], carried: &Carried) {
    let Heads { heads, kv, len } = shape;
    let Carried { k, k_shifts, v, v_shifts } = carried;
    let positions = k_shifts.len() / kv;
    let mut cache = Cache::new(shape, 1, positions).unwrap();
    let (k_rows, v_rows) =
        (RowsRef { values: k, shifts: k_shifts }, RowsRef { values: v, shifts: v_shifts });
    let write = cache::Write { cache: &mut cache, start: 0, k: k_rows, v: v_rows };
    cache::write(&mut Team::new(1).unwrap(), 0, std::iter::once(write));
    let scale = 1_548_074_000 / len as u32;
    let (mut s, mut maxima) = (vec![0; heads * positions], vec![0; heads]);
    scores::forward(&shape, scale, q, q_shifts, k, k_shifts, &mut s);
    max::forward(heads, &s, &mut maxima);
    let mut p = vec![0; s.len()];
    probs::forward(heads, &s, &maxima, &mut p);
    let mut sums = vec![0; heads];
    sum::forward(heads, &p, &mut sums);
    let mut expected = vec![0; heads * len];
    mix::forward(&shape, &p, &sums, v, v_shifts, &mut expected);
    let pairs: Vec<i32> = bytemuck::pod_collect_to_vec(q);
    let query =
        |h: usize| Query { q: &pairs[h * len / 2..][..len / 2], shift: q_shifts[h], positions };
    let queries: Vec<Query<'_>> = (0..heads).map(query).collect();
    for isa in Isa::all() {
        let mut out = vec![0; heads * len];
        let mut rows: Vec<&mut [i32]> = out.chunks_exact_mut(len).collect();
        let mut count = 0;
        let groups = queries.chunks_exact(heads / kv).zip(rows.chunks_exact_mut(heads / kv));
        for (g, (queries, rows)) in groups.enumerate() {
            assert!(queries.len() <= ROWS);
            let (scratch, scale) = (&mut Scratch::default(), scale as i32);
            count += attend(isa, cache.layer(0), g, scale, queries, scratch, rows);
        }
        assert_eq!(out, expected, "{} {shape:?} {positions}", isa.name());
        assert_eq!(count, saturated(&expected));
    }
}

#[test]
fn attention() {
    let rng = &mut Rng(7);
    let shapes = [(1, 1, 2), (2, 1, 32), (9, 3, 64), (4, 4, 80), (3, 1, 128), (2, 2, 256)];
    for (heads, kv, len) in shapes {
        for positions in [1, 2, 31, 32, 33, 63, 65, 100] {
            // Few shifts, as in models; all of them; one.
            let (base, range) = [(3, 2), (0, 19), (7, 0)][rng.below(3) as usize];
            let groups = positions * kv;
            let carried = Carried {
                k: rng.quantized(groups * len, 2047),
                k_shifts: rng.shifts(groups, 20),
                v: rng.quantized(groups * len, 4095),
                v_shifts: rng.shifts(groups, range).iter().map(|s| s + base).collect(),
            };
            let q = rng.quantized(heads * len, 4095);
            // Large queries leave one position, small ones give all the same weight.
            let q_shifts = rng.shifts(heads, 19);
            compare_attention(Heads { heads, kv, len }, &q, &q_shifts, &carried);
        }
    }
}

/// Probabilities of nearly one half, times 4, just fit 15 bits, but their sum times the values
/// doesn't fit 32.
#[test]
fn products_of_scaled_probabilities_at_their_limit() {
    let shape = Heads { heads: 1, kv: 1, len: 32 };
    let row = |first: i16| std::iter::once(first).chain(std::iter::repeat_n(0, 31));
    for excess in 0..4 {
        let carried = Carried {
            // The first position has the maximum, the others a score a little more than 1 below.
            k: (0..64).flat_map(|s| row(if s == 0 { 1023 } else { 0 })).collect(),
            k_shifts: vec![8; 64],
            v: vec![4095; 64 * 32],
            v_shifts: (0..64).map(|s| if s % 32 == 1 { 5 } else { 5 + excess }).collect(),
        };
        let query: Vec<i16> = row(6).collect();
        compare_attention(shape, &query, &[8], &carried);
    }
}

#[test]
fn the_fastest_comes_first_and_the_portable_one_last() {
    let names: Vec<&str> = Isa::all().into_iter().map(Isa::name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    assert_eq!(names[0], Isa::best().name());
    // Every machine of these kinds has them.
    assert_eq!(names.contains(&"neon"), cfg!(target_arch = "aarch64"));
    assert!(cfg!(target_arch = "x86_64") || !names.contains(&"avx2"));
}
