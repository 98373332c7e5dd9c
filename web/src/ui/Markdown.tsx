import { lazy, memo, Suspense } from "react";

const Rendered = lazy(() => import("./MarkdownRendered"));

/** Markdown of a model: raw HTML is not rendered, links open elsewhere. */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <Suspense fallback={<div style={{ whiteSpace: "pre-wrap" }}>{text}</div>}>
      <Rendered text={text} />
    </Suspense>
  );
});
