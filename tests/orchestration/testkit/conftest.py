from orchestration.testkit.fixtures import play

__all__ = ["play"]
