#pragma once
// What a git that works on mirrors is configured with, in place of the machine's and the user's files.

#include <string_view>

namespace mayfly {

// Nothing but this and the mirror's own file configures a git we start. Faults that great hosts let in for old commits are
// not worth a build; those that attack a checkout stay errors.
inline constexpr std::string_view git_config =
    "[safe]\n\tdirectory = *\n"
    "[core]\n\thooksPath = /dev/null\n"
    "[protocol]\n\tallow = never\n\tversion = 2\n"
    "[protocol \"file\"]\n\tallow = always\n[protocol \"git\"]\n\tallow = always\n[protocol \"ssh\"]\n\tallow = always\n"
    "[protocol \"http\"]\n\tallow = always\n[protocol \"https\"]\n\tallow = always\n"
    "[fetch]\n\tfsckObjects = true\n\tunpackLimit = 1\n\trecurseSubmodules = false\n\twriteCommitGraph = false\n"
    "[fetch \"fsck\"]\n\tzeroPaddedFilemode = ignore\n\tmissingSpaceBeforeDate = ignore\n\tbadTimezone = ignore\n\tmissingEmail = ignore\n"
    "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
    "[http]\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 30\n"
    "[uploadpack]\n\tallowAnySHA1InWant = true\n";

}  // namespace mayfly
