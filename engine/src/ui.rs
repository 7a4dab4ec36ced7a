//! What people see: tables, colours and progress bars on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

/// A colour or weight of the terminal (ECMA-48 SGR).
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "colours")]
pub enum Style {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// `text` in a style, if standard output is a terminal and `NO_COLOR` is not set.
pub fn paint(style: Style, text: &str) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    if wanted && (std::io::stdout().is_terminal() || std::env::var_os("CLICOLOR_FORCE").is_some()) {
        return format!("\x1b[{}m{text}\x1b[0m", style as u8);
    }
    text.to_owned()
}

/// A table with a header; columns as wide as their widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let cell_len = |s: &str| s.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|h| cell_len(h)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell_len(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(c, w)| format!("{c}{}", " ".repeat(w - cell_len(c))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut out = paint(Style::Bold, &line(&mut header.iter().copied()));
    for row in rows {
        let _ = write!(out, "\n{}", line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// Names and values, one pair a line.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| {
        let pad = " ".repeat(width - name.chars().count());
        format!("{}{pad}  {value}", paint(Style::Dim, name))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a service logs; of the graphics stack, which says much of no interest here, only errors.
pub const SERVICE_LOGS: &str = "info,wgpu_core=error,wgpu_hal=error,naga=error";
/// What a command logs.
pub const COMMAND_LOGS: &str = "warn,wgpu_core=error,wgpu_hal=error,naga=error";

/// Starts logging to standard error, as text or as JSON lines; `$RUST_LOG` says how much, else `level`.
pub fn start_logs(level: &str, json: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    // A second call, in tests, leaves the first one's subscriber.
    let _ = if json {
        logs.json().try_init().map_err(drop)
    } else {
        logs.with_ansi(is_terminal).try_init().map_err(drop)
    };
}

/// A progress bar on standard error; invisible where that isn't a terminal.
pub fn progress(what: &'static str, unit: Unit) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let count = match unit {
        Unit::Bytes => "{bytes}/{total_bytes}",
        Unit::Positions => "{pos}/{len} positions ({per_sec})",
    };
    let template = format!("{{msg}} [{{bar:30}}] {count} {{eta}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What a progress bar counts.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "units")]
pub enum Unit {
    Bytes,
    Positions,
}

/// A callback that moves a bar: done, in all.
pub fn moving(bar: &ProgressBar) -> impl Fn(u64, u64) + Sync + '_ {
    |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    }
}

/// Keeps Mesa's layer for choosing among displays from complaining where there is no display. The first thing that `main`
/// does.
#[expect(unsafe_code, reason = "a layer that the driver loads can only be told by the environment")]
pub fn quiet_drivers() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// Values that JSON can't hold.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Sets the size of the thread pool, if one is asked for.
///
/// # Errors
/// A pool that is there already.
pub fn set_threads(threads: Option<u16>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    Ok(())
}

/// Waits for Ctrl-C or a termination signal.
///
/// # Errors
/// A system without signals.
pub async fn stopped() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["1".into(), "x".into()], vec!["22".into(), "yy".into()]];
        assert_eq!(table(&["a", "long"], &rows), "a   long\n1   x\n22  yy");
    }
}
