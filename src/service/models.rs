//! The gateway to models: which model is meant, who may use it.

use std::sync::Arc;

use domain::{
    Code, Error, Result,
    chat::{ChatRequest, CompletionRequest, EmbedRequest, Embeddings, RerankRequest, Reranked},
    model::{LocalModel, ModelKind},
};
use ports::{
    llm::{Caller, ChatStream, ModelSource},
    models::ModelLibrary,
};

use crate::settings::InstanceService;

/// Which models a caller may use.
#[derive(Clone, Copy, Debug)]
pub enum Allowed<'a> {
    All,
    /// Only these; an empty list allows all.
    Only(&'a [String]),
}

impl Allowed<'_> {
    pub fn contains(&self, model: &str) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Only(list) => list.is_empty() || list.iter().any(|m| m == model),
        }
    }
}

pub struct Models {
    source: Arc<dyn ModelSource>,
    library: Arc<dyn ModelLibrary>,
    settings: InstanceService,
}

fn missing(model: &str) -> Error {
    let shown: String = model.chars().take(200).collect();
    Error::new(Code::ModelNotFound, format!("there is no model `{shown}` here that you may use; `GET /v1/models` lists those there are")).param("model")
}

impl Models {
    pub fn new(source: Arc<dyn ModelSource>, library: Arc<dyn ModelLibrary>, settings: InstanceService) -> Self {
        Self { source, library, settings }
    }

    /// The files and the runtime.
    pub fn library(&self) -> &Arc<dyn ModelLibrary> {
        &self.library
    }

    /// The models a caller may use, by id.
    pub async fn list(&self, allowed: Allowed<'_>) -> Result<Vec<LocalModel>> {
        let mut all = self.library.list().await?;
        all.retain(|m| m.problem.is_none() && allowed.contains(&m.id));
        Ok(all)
    }

    pub async fn get(&self, allowed: Allowed<'_>, id: &str) -> Result<LocalModel> {
        if !allowed.contains(id) {
            return Err(missing(id));
        }
        self.library.get(id).await
    }

    /// The model meant by `wanted`; an empty name means the installation's default of that kind.
    async fn resolve(&self, allowed: Allowed<'_>, kind: ModelKind, wanted: String) -> Result<String> {
        if !wanted.is_empty() {
            return if allowed.contains(&wanted) { Ok(wanted) } else { Err(missing(&wanted)) };
        }
        let settings = self.settings.get().await?;
        let default = match kind {
            ModelKind::Chat => settings.default_chat_model,
            ModelKind::Embedding => settings.default_embedding_model,
            ModelKind::Rerank => settings.default_rerank_model,
        };
        if let Some(id) = default.filter(|id| allowed.contains(id)) {
            return Ok(id);
        }
        let first = self.list(allowed).await?.into_iter().find(|m| m.kind == kind);
        first.map(|m| m.id).ok_or_else(|| {
            Error::new(Code::ModelNotFound, format!("there is no {} model here that you may use; add one on the models page", kind.as_str())).param("model")
        })
    }

    /// Begins an answer. The request's `model` comes back filled in.
    pub async fn chat(&self, caller: &Caller, allowed: Allowed<'_>, mut request: ChatRequest) -> Result<(String, ChatStream)> {
        request.model = self.resolve(allowed, ModelKind::Chat, request.model).await?;
        let model = request.model.clone();
        Ok((model, self.source.chat(caller, request).await?))
    }

    pub async fn complete(&self, caller: &Caller, allowed: Allowed<'_>, mut request: CompletionRequest) -> Result<(String, ChatStream)> {
        request.model = self.resolve(allowed, ModelKind::Chat, request.model).await?;
        let model = request.model.clone();
        Ok((model, self.source.complete(caller, request).await?))
    }

    pub async fn embed(&self, caller: &Caller, allowed: Allowed<'_>, mut request: EmbedRequest) -> Result<(String, Embeddings)> {
        request.model = self.resolve(allowed, ModelKind::Embedding, request.model).await?;
        let model = request.model.clone();
        Ok((model, self.source.embed(caller, request).await?))
    }

    pub async fn rerank(&self, caller: &Caller, allowed: Allowed<'_>, mut request: RerankRequest) -> Result<(String, Reranked)> {
        request.model = self.resolve(allowed, ModelKind::Rerank, request.model).await?;
        let model = request.model.clone();
        Ok((model, self.source.rerank(caller, request).await?))
    }
}
