//! K and V, in the order in which attention reads them.
//!
//! 32 positions of one head are a unit. Its keys are, for each pair of elements, two lines: a lane
//! is a position, and holds the pair. Its values are, for each pair of positions, as many lines as
//! the head fills: a lane is an element, in [`lane`]'s order, and holds the element at both
//! positions.

use super::arena::Arena;
use super::pack::lane;
use super::simd::Line;
use super::team::{Parts, Team};
use crate::Heads;
use crate::backend::{BackendError, Rows};
use std::ops::Range;

/// Positions of a unit.
pub(super) const UNIT: usize = 32;

/// All positions of all layers. The units of a head follow each other, so that attention reads
/// straight on.
#[derive(Debug)]
pub(super) struct Cache {
    shape: Heads,
    /// Units of a head.
    blocks: usize,
    /// Keys of all layers, then values.
    arena: Arena,
    k_shifts: Vec<[u8; UNIT]>,
    v_shifts: Vec<[u8; UNIT]>,
}

/// One layer of it.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) shape: Heads,
    blocks: usize,
    k: &'a [Line],
    v: &'a [Line],
    k_shifts: &'a [[u8; UNIT]],
    v_shifts: &'a [[u8; UNIT]],
}

/// Lines of a unit's keys.
const fn k_lines(shape: &Heads) -> usize {
    shape.len / 2 * (UNIT / 16)
}

/// Lines of a unit's values.
const fn v_lines(shape: &Heads) -> usize {
    UNIT / 2 * v_width(shape)
}

/// Lines of a pair of positions' values.
pub(super) const fn v_width(shape: &Heads) -> usize {
    shape.len.div_ceil(16)
}

impl<'a> Layer<'a> {
    /// Keys of 32 positions of head `g`, and their shifts.
    #[inline(always)]
    pub(super) fn keys(&self, block: usize, g: usize) -> (&'a [Line], &'a [u8; UNIT]) {
        let (unit, lines) = (g * self.blocks + block, k_lines(&self.shape));
        (&self.k[unit * lines..][..lines], &self.k_shifts[unit])
    }

    /// Values of 32 positions of head `g`, and their shifts.
    #[inline(always)]
    pub(super) fn values(&self, block: usize, g: usize) -> (&'a [Line], &'a [u8; UNIT]) {
        let (unit, lines) = (g * self.blocks + block, v_lines(&self.shape));
        (&self.v[unit * lines..][..lines], &self.v_shifts[unit])
    }
}

impl Cache {
    /// Bytes for `positions` positions of `layers` layers.
    pub(super) fn size(shape: &Heads, layers: usize, positions: usize) -> u64 {
        let unit = (k_lines(shape) + v_lines(shape)) * size_of::<Line>() + 2 * UNIT;
        (positions.div_ceil(UNIT) * shape.kv * layers * unit) as u64
    }

    /// # Errors
    /// The system doesn't give as much.
    pub(super) fn new(shape: Heads, layers: usize, positions: usize) -> Result<Self, BackendError> {
        let blocks = positions.div_ceil(UNIT);
        let units = layers * shape.kv * blocks;
        let lines = units * (k_lines(&shape) + v_lines(&shape));
        Ok(Self {
            shape,
            blocks,
            arena: Arena::new("keys and values", lines)?,
            k_shifts: vec![[0; UNIT]; units],
            v_shifts: vec![[0; UNIT]; units],
        })
    }

    /// Layer `l`.
    pub(super) fn layer(&self, l: usize) -> Layer<'_> {
        let units = self.shape.kv * self.blocks;
        let (k_lines, v_lines) = (units * k_lines(&self.shape), units * v_lines(&self.shape));
        let (k, v) = self.arena.lines().split_at(self.values_at());
        Layer {
            shape: self.shape,
            blocks: self.blocks,
            k: &k[l * k_lines..][..k_lines],
            v: &v[l * v_lines..][..v_lines],
            k_shifts: &self.k_shifts[l * units..][..units],
            v_shifts: &self.v_shifts[l * units..][..units],
        }
    }

    /// The line where values begin.
    fn values_at(&self) -> usize {
        self.k_shifts.len() * k_lines(&self.shape)
    }
}

/// Rows of one layer that are to be written: those of positions from `start` on.
pub(super) struct Write<'a> {
    pub(super) cache: &'a mut Cache,
    pub(super) start: usize,
    pub(super) k: RowsRef<'a>,
    pub(super) v: RowsRef<'a>,
}

/// Writes rows of layer `l`, each into its own cache; all are of the same shape.
pub(super) fn write<'a>(team: &mut Team, l: usize, writes: impl Iterator<Item = Write<'a>>) {
    let mut units = Vec::new();
    let targets: Vec<Target<'_>> = writes
        .enumerate()
        .map(|(i, write)| {
            let end = write.start + write.k.shifts.len() / write.cache.shape.kv;
            units.extend((write.start / UNIT..end.div_ceil(UNIT)).map(|block| (i, block)));
            Target::new(write, l, end)
        })
        .collect();
    let Some(kv) = targets.first().map(|target| target.shape.kv) else { return };
    team.run(units.len() * kv, &|_, task| {
        let (i, block) = units[task / kv];
        targets[i].write(block, task % kv);
    });
}

/// A cache that is being written.
struct Target<'a> {
    shape: Heads,
    /// Number of the layer's first unit, and units of a head.
    first: usize,
    blocks: usize,
    positions: Range<usize>,
    k: RowsRef<'a>,
    v: RowsRef<'a>,
    k_units: Parts<'a, Line>,
    v_units: Parts<'a, Line>,
    k_shifts: Parts<'a, [u8; UNIT]>,
    v_shifts: Parts<'a, [u8; UNIT]>,
}

impl<'a> Target<'a> {
    fn new(Write { cache, start, k, v }: Write<'a>, l: usize, end: usize) -> Self {
        let values_at = cache.values_at();
        let (k_units, v_units) = cache.arena.lines_mut().split_at_mut(values_at);
        Self {
            shape: cache.shape,
            first: l * cache.shape.kv * cache.blocks,
            blocks: cache.blocks,
            positions: start..end,
            k,
            v,
            k_units: Parts::new(k_units),
            v_units: Parts::new(v_units),
            k_shifts: Parts::new(&mut cache.k_shifts),
            v_shifts: Parts::new(&mut cache.v_shifts),
        }
    }

    /// Writes the rows that are in unit `block` of head `g`.
    fn write(&self, block: usize, g: usize) {
        let Heads { kv, len, .. } = self.shape;
        let (k_lines, v_lines) = (k_lines(&self.shape), v_lines(&self.shape));
        let unit = self.first + g * self.blocks + block;
        // SAFETY: every task has a unit of its own.
        #[expect(unsafe_code, reason = "parts that tasks write")]
        let (k_unit, v_unit, k_shift, v_shift) = unsafe {
            (
                self.k_units.part(unit * k_lines..(unit + 1) * k_lines),
                self.v_units.part(unit * v_lines..(unit + 1) * v_lines),
                &mut self.k_shifts.part(unit..unit + 1)[0],
                &mut self.v_shifts.part(unit..unit + 1)[0],
            )
        };
        let Range { start, end } = self.positions;
        for position in start.max(block * UNIT)..end.min((block + 1) * UNIT) {
            let (i, row) = (position % UNIT, (position - start) * kv + g);
            (k_shift[i], v_shift[i]) = (self.k.shifts[row], self.v.shifts[row]);
            write_key(k_unit, i, &self.k.values[row * len..][..len]);
            let lines = &mut v_unit[i / 2 * v_width(&self.shape)..];
            write_value(lines, i % 2, &self.v.values[row * len..][..len]);
        }
    }
}

/// Rows that somebody else has.
#[derive(Clone, Copy)]
pub(super) struct RowsRef<'a> {
    pub(super) values: &'a [i16],
    pub(super) shifts: &'a [u8],
}

impl<'a> RowsRef<'a> {
    /// Some positions' rows of `kv` heads.
    pub(super) fn new(rows: &'a Rows, positions: Range<usize>, kv: usize, len: usize) -> Self {
        let groups = positions.start * kv..positions.end * kv;
        Self {
            values: &rows.values[groups.start * len..groups.end * len],
            shifts: &rows.shifts[groups],
        }
    }
}

impl<'a> From<&'a Rows> for RowsRef<'a> {
    fn from(rows: &'a Rows) -> Self {
        Self { values: &rows.values, shifts: &rows.shifts }
    }
}

fn write_key(unit: &mut [Line], i: usize, k: &[i16]) {
    let lines = unit[i / 16..].iter_mut().step_by(UNIT / 16);
    for (line, &[k0, k1]) in lines.zip(k.as_chunks().0) {
        line.0[i % 16] = pair(k0, k1);
    }
}

fn write_value(lines: &mut [Line], half: usize, v: &[i16]) {
    for (line, v) in lines.iter_mut().zip(v.chunks(16)) {
        let line: &mut [i16; 32] = bytemuck::cast_mut(line);
        for (i, &v) in v.iter().enumerate() {
            line[2 * lane(i) + half] = v;
        }
    }
}

fn pair(low: i16, high: i16) -> i32 {
    i32::from(high) << 16 | i32::from(low as u16)
}
