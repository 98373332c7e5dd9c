import { Table } from "@mantine/core";
import type { ReactNode } from "react";

/** A table that scrolls sideways on small screens, also by keyboard. */
export function WideTable({
  label,
  minWidth,
  spacing,
  children,
}: {
  label: string;
  minWidth: number;
  spacing?: string;
  children: ReactNode;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by keyboard
    <section aria-label={label} tabIndex={0} style={{ overflowX: "auto" }}>
      <Table miw={minWidth} verticalSpacing={spacing}>
        {children}
      </Table>
    </section>
  );
}
