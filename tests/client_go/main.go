// Command client_go uses a cluster through client-go, as programs of the ecosystem do, and says whether the cluster kept
// its promises. The Rust test beside this directory starts the cluster, runs this program, and kills and restarts
// processes when the program asks for it.
//
// Status 0 means that every check held; the last line of standard output is "ok" then. Otherwise the first check that
// failed is told on standard error, which holds the client's own log, too.
//
// Reading order: raw.go, requests.go (what each request does), load.go, writer.go, tally.go and keeper.go (what holds while
// a store is killed), moves.go, splits.go, operators.go and routes.go (what holds while regions split and move),
// timestamps.go (what holds while the coordinator is killed), harness.go (how this program asks for that).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pingcap/log"
	"go.uber.org/zap/zapcore"
)

// deadline ends a run that hangs, a little before the harness would. Nothing else is judged by time.
const deadline = 280 * time.Second

func main() {
	endpoints := flag.String("pd", "", "addresses of the coordinator, with commas between them")
	mode := flag.String("mode", "raw", "what to check: raw, moves or timestamps")
	flag.Parse()
	if err := run(strings.Split(*endpoints, ","), *mode); err != nil {
		fmt.Fprintf(os.Stderr, "FAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(endpoints []string, mode string) error {
	if err := logToStandardError(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	switch mode {
	case "raw":
		return checkRaw(ctx, endpoints)
	case "moves":
		return checkMoves(ctx, endpoints)
	case "timestamps":
		return checkTimestamps(ctx, endpoints)
	default:
		return fmt.Errorf("there is no mode %q: use raw, moves or timestamps", mode)
	}
}

// logToStandardError leaves standard output to the harness: client-go logs there by default.
func logToStandardError() error {
	sink := zapcore.Lock(os.Stderr)
	logger, properties, err := log.InitLoggerWithWriteSyncer(&log.Config{Level: "info"}, sink, sink)
	if err != nil {
		return err
	}
	log.ReplaceGlobals(logger, properties)
	return nil
}
