//! Weighs weight layouts of one model against each other: size, perplexity, divergence from the source, speed.
//!
//! `cargo run --release -p llama --example layouts -- SOURCE.gguf WORK_DIR [TEXT_FILE] [LAYOUT …]`

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

use llama::prepare::{Layout, QUALITY_TEXT, compare, requantize};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

const DEFAULT: &[&str] = &["Q8_0", "Q4_0", "IQ4_NL", "Q5_0", "Q4_0,ffn_down=Q8_0", "Q4_0,attn_v=Q8_0,ffn_down=Q8_0"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, work, rest @ ..] = args.as_slice() else { return Err("SOURCE.gguf WORK_DIR [TEXT_FILE|-] [LAYOUT …]".into()) };
    let text = match rest.first().map(String::as_str) {
        None | Some("-") => QUALITY_TEXT.to_owned(),
        Some(file) => std::fs::read_to_string(file)?,
    };
    let layouts: Vec<&str> = if rest.len() > 1 { rest[1..].iter().map(String::as_str).collect() } else { DEFAULT.to_vec() };
    let kernels = llama::cpu::install_best_backend();
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    println!("kernels: {}", kernels.name());
    println!("{:40} {:>10} {:>9} {:>7} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9}", "layout", "MB", "ppl", "±", "KL nats", "same top", "pp512/s", "tg1/s", "tg8/s", "tg16/s");
    std::fs::create_dir_all(work)?;
    let source = Path::new(source);
    let mut files = vec![("(source)".to_owned(), source.to_path_buf())];
    for name in layouts {
        let layout: Layout = name.parse()?;
        let file = PathBuf::from(work).join(format!("{}.gguf", name.replace([',', '='], "-")));
        if !file.exists() {
            requantize(source, &file, &layout)?;
        }
        files.push((name.to_owned(), file));
    }
    for (name, file) in files {
        let c = compare(&backend, source, &file, &text)?;
        let speed = speed(&backend, &file)?;
        println!(
            "{name:40} {:>10.1} {:>9.4} {:>7.3} {:>10.5} {:>8.4} {:>9.0} {:>9.0} {:>9.0} {:>9.0}",
            std::fs::metadata(&file)?.len() as f64 / 1e6, c.candidate.perplexity, c.candidate.error, c.divergence, c.same_top, speed[0], speed[1], speed[2], speed[3]
        );
    }
    Ok(())
}

/// Tokens per second, best of three: 512 prompt tokens at once, then decoding with 1, 8 and 16 sequences.
fn speed(backend: &LlamaBackend, file: &Path) -> Result<[f64; 4], Box<dyn std::error::Error>> {
    let threads: i32 = std::env::var("THREADS").ok().and_then(|t| t.parse().ok()).unwrap_or(2);
    let model = LlamaModel::load_from_file(backend, file, &LlamaModelParams::default())?;
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(8192)).with_n_batch(512).with_n_ubatch(512).with_n_seq_max(16).with_kv_unified(true)
        .with_n_threads(threads).with_n_threads_batch(threads);
    let mut context = model.new_context(backend, params)?;
    let mut out = [0f64; 4];
    for _ in 0..3 {
        context.clear_kv_cache();
        let mut batch = LlamaBatch::new(512, 1);
        for i in 0..512 {
            batch.add(LlamaToken(1000 + i * 7), i, &[0], i == 511)?;
        }
        let start = Instant::now();
        context.decode(&mut batch)?;
        context.synchronize();
        out[0] = out[0].max(512.0 / start.elapsed().as_secs_f64());
        for (slot, width) in [(1, 1), (2, 8), (3, 16)] {
            context.clear_kv_cache();
            let start = Instant::now();
            for step in 0..32 {
                batch.clear();
                for seq in 0..width {
                    batch.add(LlamaToken(2000 + step * 3 + seq), step, &[seq], true)?;
                }
                context.decode(&mut batch)?;
            }
            out[slot] = out[slot].max(f64::from(32 * width) / start.elapsed().as_secs_f64());
        }
    }
    Ok(out)
}
