import { Badge, type BadgeProps } from "@mantine/core";

/** A state in words with a coloured dot; colour is never the only sign. */
export function Status({ color, children, ...rest }: { color: string; children: string } & BadgeProps) {
  const dot = (
    <span
      aria-hidden="true"
      style={{ width: 8, height: 8, borderRadius: "50%", display: "inline-block", background: `var(--mantine-color-${color}-6)` }}
    />
  );
  return (
    <Badge variant="default" tt="none" leftSection={dot} style={{ flex: "none" }} {...rest}>
      {children}
    </Badge>
  );
}
