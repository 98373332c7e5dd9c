/** The mark: a hazelnut in its husk. */
export function Logo({ size = 28 }: { size?: number }) {
  return <img src="/favicon.svg" width={size} height={size} alt="" aria-hidden="true" style={{ display: "block" }} />;
}
