import { Button } from "@mantine/core";
import { IconMapOff } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { Empty } from "../ui/feedback";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <Empty icon={<IconMapOff size={28} aria-hidden />} title={t("notFound.title")} text={t("notFound.text")}>
      <Button component={Link} to="/playground">
        {t("nav.playground")}
      </Button>
    </Empty>
  );
}
