import { Button, JsonInput, NativeSelect, NumberInput, Slider, Stack, TagsInput, Text, Textarea } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Parameters } from "./conversations";

const SLIDERS = [
  { name: "temperature", min: 0, max: 2, step: 0.05, usual: 0.8 },
  { name: "top_p", min: 0, max: 1, step: 0.01, usual: 0.95 },
  { name: "min_p", min: 0, max: 1, step: 0.01, usual: 0.05 },
  { name: "repeat_penalty", min: 1, max: 2, step: 0.01, usual: 1 },
  { name: "presence_penalty", min: -2, max: 2, step: 0.05, usual: 0 },
  { name: "frequency_penalty", min: -2, max: 2, step: 0.05, usual: 0 },
] as const;

const NUMBERS = [
  { name: "max_tokens", min: 1 },
  { name: "top_k", min: 0 },
  { name: "seed", min: 0 },
] as const;

export function ParametersPanel({
  system,
  parameters,
  onSystem,
  onChange,
}: {
  system: string;
  parameters: Parameters;
  onSystem: (system: string) => void;
  onChange: (parameters: Parameters) => void;
}) {
  const { t } = useTranslation();
  const set = (patch: Partial<Parameters>) => onChange({ ...parameters, ...patch });
  return (
    <Stack gap="md">
      <Textarea
        label={t("playground.system")}
        description={t("playground.systemHint")}
        autosize
        minRows={2}
        maxRows={8}
        value={system}
        onChange={(e) => onSystem(e.currentTarget.value)}
      />
      {NUMBERS.map(({ name, min }) => (
        <NumberInput
          key={name}
          label={t(`parameter.${name}.label`)}
          description={t(`parameter.${name}.hint`)}
          placeholder={t("parameter.default")}
          min={min}
          allowDecimal={false}
          value={parameters[name] ?? ""}
          onChange={(v) => set({ [name]: typeof v === "number" ? v : undefined })}
        />
      ))}
      {SLIDERS.map(({ name, min, max, step, usual }) => {
        const value = parameters[name];
        return (
          <div key={name}>
            <Text size="sm" fw={500} id={`label-${name}`}>
              {t(`parameter.${name}.label`)}{" "}
              <Text span c="dimmed" size="sm">
                {value === undefined ? t("parameter.default") : value}
              </Text>
            </Text>
            <Text size="xs" c="dimmed" mb={6}>
              {t(`parameter.${name}.hint`)}
            </Text>
            <Slider
              min={min}
              max={max}
              step={step}
              value={value ?? usual}
              label={null}
              thumbLabel={t(`parameter.${name}.label`)}
              onChange={(v) => set({ [name]: v })}
              size="sm"
            />
          </div>
        );
      })}
      <TagsInput
        label={t("parameter.stop.label")}
        description={t("parameter.stop.hint")}
        value={parameters.stop ?? []}
        maxTags={16}
        onChange={(stop) => set({ stop: stop.length > 0 ? stop : undefined })}
      />
      <NativeSelect
        label={t("parameter.format.label")}
        description={t("parameter.format.hint")}
        value={parameters.format ?? "text"}
        onChange={(e) => set({ format: e.currentTarget.value as Parameters["format"] })}
        data={(["text", "json_object", "json_schema"] as const).map((value) => ({
          value,
          label: t(`parameter.format.${value}`),
        }))}
      />
      {parameters.format === "json_schema" && (
        <JsonInput
          label={t("parameter.schema")}
          autosize
          minRows={4}
          maxRows={14}
          formatOnBlur
          validationError={t("parameter.schemaWrong")}
          placeholder='{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
          value={parameters.schema ?? ""}
          onChange={(schema) => set({ schema })}
        />
      )}
      <Button
        variant="default"
        size="xs"
        onClick={() => onChange({})}
        disabled={Object.values(parameters).every((v) => v === undefined)}
      >
        {t("parameter.reset")}
      </Button>
    </Stack>
  );
}
