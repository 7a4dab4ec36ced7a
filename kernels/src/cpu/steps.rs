//! Single steps, for a block whose tensors are all wanted.
//!
//! A block of a dispute is one row, so its time goes where generation's does: to streaming the
//! matrices from memory. They are read as they were packed, with the threads of the sequences.

use super::Cpu;
use super::activations::Activations;
use super::elementwise::SwiGlu;
use super::matmul::Run;
use super::single::{Mix, Probs, Scores};
use super::team::Parts;
use super::workspace::Workspace;
use crate::Heads;
use crate::backend::{Quantized, Steps};
use std::sync::atomic::AtomicU64;
use std::sync::{MutexGuard, TryLockError};

/// Positions of a task.
const PART: usize = 128;

/// The team, lent; sequences wait for it.
pub(super) struct CpuSteps<'a> {
    cpu: &'a Cpu,
    workspace: MutexGuard<'a, Workspace>,
    saturations: AtomicU64,
}

impl<'a> CpuSteps<'a> {
    /// `None` while a sequence is at work.
    pub(super) fn new(cpu: &'a Cpu) -> Option<Self> {
        let workspace = match cpu.workspace.try_lock() {
            Ok(workspace) => workspace,
            // A panic has left nothing there that is read before it is written.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Self { cpu, workspace, saturations: AtomicU64::new(0) })
    }

    fn run(&mut self) -> Run<'_> {
        let Self { cpu, workspace, saturations } = self;
        Run { isa: cpu.isa, team: &mut workspace.team, saturations }
    }
}

impl Steps for CpuSteps<'_> {
    fn linear(
        &mut self,
        index: usize,
        (x, shifts): Quantized<'_>,
        residual: Option<&[i32]>,
        out: &mut [i32],
    ) {
        let cpu = self.cpu;
        let Some(matrix) = cpu.model.linear(index) else { panic!("there is no linear {index}") };
        assert_eq!((out.len(), x.len()), (matrix.rows, matrix.cols), "the size of linear {index}");
        assert_eq!(shifts.len(), 1, "the row is one group");
        if let Some(residual) = residual {
            out.copy_from_slice(residual);
        }
        let x = Activations::of_row(x, shifts[0]);
        self.run().linear(&mut [(matrix, out)], &x, 0..1, residual.is_some());
    }

    fn scores(&mut self, q: Quantized<'_>, k: Quantized<'_>, out: &mut [i32]) {
        let decoder = self.cpu.model.decoder();
        let (shape, scale, isa) = (decoder.attention(), decoder.score_scale, self.cpu.isa);
        let Heads { heads, kv, len } = shape;
        let all = positions(&shape, k);
        assert_eq!((q.0.len(), q.1.len()), (heads * len, heads), "a query for each head");
        assert_eq!(out.len(), heads * all, "a score for each head and position");
        let (group, parts, out) = (heads / kv, all.div_ceil(PART), Parts::new(out));
        self.run().team.run(kv * parts, &|_, task| {
            let (g, start) = (task / parts, task % parts * PART);
            let positions = start..all.min(start + PART);
            let row = |h: usize| {
                // SAFETY: every task has heads or positions of its own.
                #[expect(unsafe_code, reason = "parts that tasks write")]
                unsafe {
                    out.part(h * all + positions.start..h * all + positions.end)
                }
            };
            let mut out: Vec<_> = (g * group..(g + 1) * group).map(row).collect();
            isa.run(Scores { shape, scale, g, q, k, positions, out: &mut out });
        });
    }

    fn probs(&mut self, scores: &[i32], maxima: &[i32], out: &mut [u16]) {
        let (heads, isa) = (self.cpu.model.decoder().heads, self.cpu.isa);
        assert_eq!(maxima.len(), heads, "a maximum for each head");
        assert_eq!(out.len(), scores.len(), "a probability for each score");
        assert!(scores.len().is_multiple_of(heads), "every head has the same positions");
        let (all, out) = (scores.len() / heads, Parts::new(out));
        self.run().team.run(heads, &|_, h| {
            let range = h * all..(h + 1) * all;
            // SAFETY: every task has a head of its own.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            let out = unsafe { out.part(range.clone()) };
            isa.run(Probs { scores: &scores[range], max: maxima[h], out });
        });
    }

    fn mix(&mut self, probs: &[u16], sums: &[u32], v: Quantized<'_>, out: &mut [i32]) {
        let (shape, isa) = (self.cpu.model.decoder().attention(), self.cpu.isa);
        let Heads { heads, len, .. } = shape;
        let all = positions(&shape, v);
        assert_eq!((probs.len(), sums.len()), (heads * all, heads), "a probability for each score");
        assert_eq!(out.len(), heads * len, "a row for each head");
        let out = Parts::new(out);
        self.run().team.run(heads, &|_, h| {
            // SAFETY: every task has a head of its own.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            let out = unsafe { out.part(h * len..(h + 1) * len) };
            let (g, probs, sum) = (shape.kv_of(h), &probs[h * all..][..all], sums[h]);
            isa.run(Mix { shape, g, probs, sum, v, out });
        });
    }

    fn swiglu(&mut self, gate: &[i32], up: &[i32], out: &mut [i32]) {
        assert_eq!((gate.len(), up.len()), (out.len(), out.len()), "rows of one length");
        self.cpu.isa.run(SwiGlu { gate, up, out });
    }
}

/// Positions that K or V rows have.
fn positions(shape: &Heads, (values, shifts): Quantized<'_>) -> usize {
    let positions = shifts.len() / shape.kv;
    let sizes = (positions * shape.kv * shape.len, positions * shape.kv);
    assert_eq!((values.len(), shifts.len()), sizes, "whole rows");
    positions
}
