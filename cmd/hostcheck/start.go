//go:build !manual

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process whatever it waits for
	err := root().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	os.Exit(code(err, interrupted))
}
