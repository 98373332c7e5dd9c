import { useMantineColorScheme } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo } from "react";
import { setLanguage } from "../i18n";
import { ApiError, api, body, onSignedOut, type Session, setCsrf } from "./client";

type Role = "owner" | "admin" | "editor" | "member";
const RANK: Record<Role, number> = { member: 0, editor: 1, admin: 2, owner: 3 };

interface SessionState {
  session: Session | null;
  /** Takes a session that an answer brought along. */
  take(session: Session): void;
  signOut(): Promise<void>;
  /** Whether the person may do what `role` may. */
  may(role: Role): boolean;
}

const Context = createContext<SessionState | null>(null);

export function useSession(): SessionState {
  const state = useContext(Context);
  if (!state) throw new Error("useSession outside of its provider");
  return state;
}

/** Loads the session once; pages below know whether somebody is signed in. */
export function SessionProvider({
  children,
  pending,
  failed,
}: {
  children: ReactNode;
  pending: ReactNode;
  failed: (error: Error, again: () => void) => ReactNode;
}) {
  const client = useQueryClient();
  const { setColorScheme } = useMantineColorScheme();
  const query = useQuery({
    queryKey: ["session"],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () => {
      try {
        return await body(api.GET("/console/api/session"));
      } catch (e) {
        if (e instanceof ApiError && e.status === 401) return null;
        throw e;
      }
    },
  });
  const session = query.data ?? null;
  setCsrf(session?.csrf_token ?? "");

  useEffect(() => onSignedOut(() => client.setQueryData(["session"], null)), [client]);
  const language = session?.user.language;
  const theme = session?.user.theme;
  useEffect(() => {
    if (language) setLanguage(language);
  }, [language]);
  useEffect(() => {
    if (theme) setColorScheme(theme === "light" || theme === "dark" ? theme : "auto");
  }, [theme, setColorScheme]);

  const take = useCallback(
    (next: Session) => {
      const before = client.getQueryData<Session | null>(["session"]);
      setCsrf(next.csrf_token);
      client.setQueryData(["session"], next);
      // Another person or workspace: nothing that was shown before may be shown again.
      if (before?.user.id !== next.user.id || before?.workspace.id !== next.workspace.id) {
        client.removeQueries({ predicate: (q) => q.queryKey[0] !== "session" || q.queryKey.length > 1 });
      }
    },
    [client],
  );
  const signOut = useCallback(async () => {
    await api.POST("/console/api/logout").catch(() => {});
    client.setQueryData(["session"], null);
    client.removeQueries({ predicate: (q) => q.queryKey[0] !== "session" || q.queryKey.length > 1 });
  }, [client]);
  const state = useMemo<SessionState>(
    () => ({ session, take, signOut, may: (role) => RANK[(session?.user.role ?? "member") as Role] >= RANK[role] }),
    [session, take, signOut],
  );
  if (query.isPending) return pending;
  if (query.isError) return failed(query.error, () => void query.refetch());
  return <Context.Provider value={state}>{children}</Context.Provider>;
}
