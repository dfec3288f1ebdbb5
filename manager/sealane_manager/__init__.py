"""The Sealane manager: signs releases and moves them through staged rollouts."""
