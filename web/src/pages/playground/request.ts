import { ApiError, csrfHeader, errorOf } from "../../api/client";
import { events } from "../../api/sse";
import type { Conversation, Message, Stats } from "./conversations";

/** The body of a chat request, as any OpenAI client would send it. */
export function requestBody(
  conversation: Pick<Conversation, "model" | "system" | "parameters">,
  messages: Pick<Message, "role" | "content">[],
): Record<string, unknown> {
  const { stop, format, schema, ...plain } = conversation.parameters;
  const body: Record<string, unknown> = {
    model: conversation.model,
    messages: [
      ...(conversation.system.trim() ? [{ role: "system", content: conversation.system }] : []),
      ...messages.map(({ role, content }) => ({ role, content })),
    ],
  };
  for (const [name, value] of Object.entries(plain)) if (value !== undefined && value !== null) body[name] = value;
  if (stop && stop.length > 0) body.stop = stop;
  if (format === "json_object") body.response_format = { type: "json_object" };
  if (format === "json_schema")
    body.response_format = {
      type: "json_schema",
      json_schema: { name: "answer", schema: JSON.parse(schema || "{}"), strict: true },
    };
  return body;
}

export interface Progress {
  content: string;
  reasoning: string;
  finish?: string;
  stats?: Stats;
}

/** Streams one answer; `onProgress` gets all of it so far with every piece. */
export async function answer(
  body: Record<string, unknown>,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<Progress> {
  const begun = performance.now();
  let response: Response;
  try {
    response = await fetch("/console/api/playground/chat", {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream", ...csrfHeader() },
      body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      signal,
    });
  } catch (e) {
    if (signal.aborted) throw e;
    throw new ApiError(0, "offline", "offline");
  }
  if (!response.ok || !response.body) throw await errorOf(response);
  const progress: Progress = { content: "", reasoning: "" };
  let first = 0;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error)
      throw new ApiError(
        chunk.error.status ?? 500,
        chunk.error.code ?? "unknown",
        chunk.error.message ?? "",
        chunk.error.param ?? undefined,
      );
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content ?? "";
    const thought = choice?.delta?.reasoning_content ?? "";
    if ((piece || thought) && first === 0) first = performance.now() - begun;
    progress.content += piece;
    progress.reasoning += thought;
    if (choice?.finish_reason) progress.finish = choice.finish_reason;
    if (chunk.usage) {
      progress.stats = {
        promptTokens: chunk.usage.prompt_tokens,
        cachedTokens: chunk.usage.prompt_tokens_details?.cached_tokens ?? 0,
        completionTokens: chunk.usage.completion_tokens,
        firstMs: first,
        totalMs: performance.now() - begun,
      };
    }
    onProgress({ ...progress });
  }
  return progress;
}
