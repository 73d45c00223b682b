package main

import (
	"context"
	"fmt"
	"time"
)

// until waits until something is so. It tells why it is not yet.
func until(ctx context.Context, condition func() (bool, string, error)) error {
	for {
		done, why, err := condition()
		if err != nil || done {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s: %w", why, err)
		}
	}
}

// pause lets a moment pass between two looks at what nobody announces.
func pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
