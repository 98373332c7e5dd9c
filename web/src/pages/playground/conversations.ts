import { useCallback, useSyncExternalStore } from "react";

export interface Stats {
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  /** Milliseconds until the first piece of text. */
  firstMs: number;
  totalMs: number;
}

export interface Message {
  id: string;
  role: "user" | "assistant";
  content: string;
  reasoning?: string;
  stats?: Stats;
  finish?: string;
  error?: { code: string; message: string };
}

export interface Parameters {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repeat_penalty?: number;
  presence_penalty?: number;
  frequency_penalty?: number;
  max_tokens?: number;
  seed?: number;
  stop?: string[];
  format?: "text" | "json_object" | "json_schema";
  schema?: string;
}

export interface Conversation {
  id: string;
  title: string;
  model?: string;
  system: string;
  parameters: Parameters;
  messages: Message[];
  updated: number;
}

const MOST = 100;

export function newId(): string {
  return `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
}

export function blank(like?: Conversation): Conversation {
  return {
    id: newId(),
    title: "",
    model: like?.model,
    system: like?.system ?? "",
    parameters: like?.parameters ?? {},
    messages: [],
    updated: Date.now(),
  };
}

/** Conversations of one person in one workspace, kept in this browser. */
class Store {
  private all: Conversation[];
  private listeners = new Set<() => void>();
  constructor(private readonly name: string) {
    this.all = [];
    try {
      const read = JSON.parse(localStorage.getItem(name) ?? "[]");
      if (Array.isArray(read)) this.all = read.filter((c) => typeof c?.id === "string" && Array.isArray(c.messages));
    } catch {
      // Unreadable or switched off: begin anew.
    }
  }
  list = () => this.all;
  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  replace(next: Conversation[], keep = true) {
    this.all = next.slice(0, MOST);
    for (const listener of this.listeners) listener();
    if (keep) this.keep();
  }
  keep() {
    // The oldest go first when the browser's room is used up.
    for (let kept = this.all; kept.length > 0; kept = kept.slice(0, -1)) {
      try {
        localStorage.setItem(this.name, JSON.stringify(kept));
        return;
      } catch {
        // Try with one less.
      }
    }
    try {
      localStorage.removeItem(this.name);
    } catch {
      // Storage is switched off.
    }
  }
}

const stores = new Map<string, Store>();

export function useConversations(owner: string) {
  const name = `filbert.playground.${owner}`;
  let store = stores.get(name);
  if (!store) {
    store = new Store(name);
    stores.set(name, store);
  }
  const held = store;
  const list = useSyncExternalStore(held.subscribe, held.list);
  /** Changes one conversation, or adds it. While an answer streams it is kept only at the end. */
  const update = useCallback(
    (id: string, change: (c: Conversation) => Conversation, keep = true) => {
      held.replace(
        held.list().map((c) => (c.id === id ? change(c) : c)),
        keep,
      );
    },
    [held],
  );
  const add = useCallback((c: Conversation) => held.replace([c, ...held.list()]), [held]);
  const remove = useCallback((id: string) => held.replace(held.list().filter((c) => c.id !== id)), [held]);
  const clear = useCallback(() => held.replace([]), [held]);
  const restore = useCallback((all: Conversation[]) => held.replace(all), [held]);
  return { list, update, add, remove, clear, restore };
}
