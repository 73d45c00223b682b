package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// harness does to the cluster's processes what this program asks for: a line "harness: ..." on standard output asks, a
// line "done" on standard input answers.
type harness struct {
	answers *bufio.Reader
}

func newHarness() *harness {
	return &harness{answers: bufio.NewReader(os.Stdin)}
}

// kill ends the process that serves at an address, without warning.
func (h *harness) kill(address string) error {
	return h.ask("kill " + address)
}

// restart starts the process that served at an address again, and waits until it serves.
func (h *harness) restart(address string) error {
	return h.ask("restart " + address)
}

func (h *harness) ask(request string) error {
	fmt.Println("harness: " + request)
	answer, err := h.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the harness did not answer %q: %w", request, err)
	}
	if answer = strings.TrimSpace(answer); answer != "done" {
		return fmt.Errorf("the harness answered %q to %q", answer, request)
	}
	return nil
}
