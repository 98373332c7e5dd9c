import { Center } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense } from "react";
import { BrowserRouter, Navigate, Outlet, Route, Routes, useLocation } from "react-router";
import { api, body } from "./api/client";
import { SessionProvider, useSession } from "./api/session";
import { Shell } from "./layout/Shell";
import { Login } from "./pages/Login";
import { NotFound } from "./pages/NotFound";
import { SetUp } from "./pages/SetUp";
import { ErrorNote, Waiting } from "./ui/feedback";

const Playground = lazy(() => import("./pages/playground/Playground"));
const Models = lazy(() => import("./pages/models/Models"));
const Keys = lazy(() => import("./pages/keys/Keys"));
const Settings = lazy(() => import("./pages/settings/Settings"));

/** Pages of somebody who is signed in; others go to the login page and come back afterwards. */
function SignedIn() {
  const { session } = useSession();
  const location = useLocation();
  if (!session) return <Navigate to="/login" replace state={{ from: location.pathname + location.search }} />;
  return (
    <Shell>
      <Suspense fallback={<Waiting />}>
        <Outlet />
      </Suspense>
    </Shell>
  );
}

/** Where one was before, or the playground. */
function SignedOut({ children }: { children: ReactNode }) {
  const { session } = useSession();
  const location = useLocation();
  if (!session) return children;
  const from = (location.state as { from?: string } | null)?.from;
  return <Navigate to={from && from !== "/login" ? from : "/playground"} replace />;
}

/** Whether the first owner is still to be made is asked only when nobody is signed in. */
function Door() {
  const { session } = useSession();
  const setup = useQuery({
    queryKey: ["session", "setup"],
    queryFn: () => body(api.GET("/console/api/setup")),
    enabled: !session,
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (!session && setup.isPending) return <Waiting />;
  if (!session && setup.isError) return <Failed error={setup.error} again={() => void setup.refetch()} />;
  const needed = !session && setup.data?.needed === true;
  return (
    <Routes>
      <Route path="/setup" element={needed ? <SetUp status={setup.data} /> : <Navigate to="/playground" replace />} />
      <Route
        path="/login"
        element={
          needed ? (
            <Navigate to="/setup" replace />
          ) : (
            <SignedOut>
              <Login name={setup.data?.instance_name} />
            </SignedOut>
          )
        }
      />
      <Route element={needed ? <Navigate to="/setup" replace /> : <SignedIn />}>
        <Route index element={<Navigate to="/playground" replace />} />
        <Route path="/playground" element={<Playground />} />
        <Route path="/models" element={<Models />} />
        <Route path="/keys" element={<Keys />} />
        <Route path="/settings/*" element={<Settings />} />
        <Route path="*" element={<NotFound />} />
      </Route>
    </Routes>
  );
}

function Failed({ error, again }: { error: unknown; again: () => void }) {
  return (
    <Center h="100%" p="md">
      <ErrorNote error={error} again={again} />
    </Center>
  );
}

export function App() {
  return (
    <SessionProvider pending={<Waiting />} failed={(error, again) => <Failed error={error} again={again} />}>
      <BrowserRouter>
        <Door />
      </BrowserRouter>
    </SessionProvider>
  );
}
