//! Requests to loaded models.

use async_trait::async_trait;
use domain::{
    Code, Error, Result,
    chat::{ChatRequest, CompletionRequest, EmbedPurpose, EmbedRequest, Embeddings, Prompt, RerankHit, RerankRequest, Reranked, Usage},
    model::ModelKind,
};
use ports::llm::{Caller, ChatStream, ModelSource};

use super::{Runtime, link::Submitted};
use crate::worker::protocol::{FromWorker, Input, ToWorker};

impl Runtime {
    async fn needs(&self, id: &str, kind: ModelKind) -> Result<()> {
        let entry = self.library.entry(id).await?;
        if entry.kind == kind {
            return Ok(());
        }
        let why = format!("`{id}` is a model for {}, not for {}; choose another one", entry.kind.as_str(), kind.as_str());
        Err(Error::new(Code::ModelUnsupported, why).param("model"))
    }

    async fn submit(&self, caller: &Caller, model: &str, message: impl FnOnce(u64) -> ToWorker) -> Result<Submitted> {
        let link = self.link(model).await?;
        link.submit(caller.tenant, self.settings.queue, self.settings.queue_per_tenant, message)
    }

    async fn vectors(&self, caller: &Caller, model: &str, message: impl FnOnce(u64) -> ToWorker) -> Result<(Vec<Vec<f32>>, Usage)> {
        let mut submitted = self.submit(caller, model, message).await?;
        loop {
            if let FromWorker::Vectors { vectors, tokens, .. } = submitted.next().await? {
                return Ok((vectors, Usage { prompt_tokens: tokens, ..Usage::default() }));
            }
        }
    }
}

/// Waits until the request is in line, so that refusals still have a status; then the events.
async fn stream(mut submitted: Submitted) -> Result<ChatStream> {
    while !matches!(submitted.next().await?, FromWorker::Accepted { .. }) {}
    Ok(Box::pin(async_stream::try_stream! {
        loop {
            match submitted.next().await? {
                FromWorker::Event { event, .. } => yield serde_json::from_slice(&event).map_err(Error::internal)?,
                FromWorker::Done { .. } => break,
                _ => {}
            }
        }
    }))
}

#[async_trait]
impl ModelSource for Runtime {
    async fn chat(&self, caller: &Caller, request: ChatRequest) -> Result<ChatStream> {
        self.needs(&request.model, ModelKind::Chat).await?;
        let body = serde_json::to_vec(&request).map_err(Error::internal)?;
        let (tenant, background) = (*caller.tenant.as_bytes(), caller.background);
        stream(self.submit(caller, &request.model, |id| ToWorker::Chat { id, tenant, background, request: body }).await?).await
    }

    async fn complete(&self, caller: &Caller, request: CompletionRequest) -> Result<ChatStream> {
        self.needs(&request.model, ModelKind::Chat).await?;
        let body = serde_json::to_vec(&request).map_err(Error::internal)?;
        let (tenant, background) = (*caller.tenant.as_bytes(), caller.background);
        stream(self.submit(caller, &request.model, |id| ToWorker::Complete { id, tenant, background, request: body }).await?).await
    }

    async fn embed(&self, caller: &Caller, request: EmbedRequest) -> Result<Embeddings> {
        self.needs(&request.model, ModelKind::Embedding).await?;
        let entry = self.library.entry(&request.model).await?;
        let width = entry.facts.as_ref().map_or(0, |f| f.embedding_length);
        if let Some(wanted) = request.dimensions.filter(|d| *d == 0 || (width > 0 && *d > width)) {
            return Err(Error::invalid("dimensions", format!("`dimensions` is {wanted}; `{}` gives vectors of {width}", request.model)));
        }
        let prefix = match request.purpose {
            EmbedPurpose::Raw => "",
            EmbedPurpose::Query => entry.query_prefix.as_str(),
            EmbedPurpose::Passage => entry.passage_prefix.as_str(),
        };
        let inputs = request
            .inputs
            .into_iter()
            .map(|input| match input {
                Prompt::Text(text) => Input::Text(format!("{prefix}{text}")),
                Prompt::Tokens(tokens) => Input::Tokens(tokens),
            })
            .collect();
        let truncate = request.truncate;
        let (mut vectors, usage) = self.vectors(caller, &request.model, |id| ToWorker::Embed { id, inputs, truncate }).await?;
        if let Some(width) = request.dimensions {
            for vector in &mut vectors {
                vector.truncate(width as usize);
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                if length > 0.0 {
                    vector.iter_mut().for_each(|x| *x /= length);
                }
            }
        }
        Ok(Embeddings { vectors, usage })
    }

    async fn rerank(&self, caller: &Caller, request: RerankRequest) -> Result<Reranked> {
        self.needs(&request.model, ModelKind::Rerank).await?;
        let RerankRequest { model, query, documents, top_n } = request;
        let (scores, usage) = self.vectors(caller, &model, |id| ToWorker::Rerank { id, query, documents }).await?;
        let mut results: Vec<RerankHit> = scores.iter().enumerate().map(|(i, s)| RerankHit { index: i as u32, score: s.first().copied().unwrap_or(f32::NEG_INFINITY) }).collect();
        results.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
        results.truncate(top_n.map_or(usize::MAX, |n| n as usize));
        Ok(Reranked { results, usage })
    }
}
